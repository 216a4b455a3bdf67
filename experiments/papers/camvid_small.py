"""CamVid at 96x128 (not a published protocol): autoencoders pretrained on the 367 training frames, then shares of their labels.

Each method has the encoder that it is made for, so there is a network from scratch for each encoder, and each pretrained one
is compared with its own.
"""

from experiments.papers import Row

TITLE = "CamVid at 96x128, 11 classes, test split (233 images)"
METRICS = ("mean_iou", "pixel_accuracy", "class_accuracy")
SEEDS = 3
SPLIT = "test"
NAMES = {"denoising": "denoising"}
"""The methods, and what they are called in the table."""
STEPS = {"denoising": 1300}
"""What each trains in about 240 s on one core."""
ENCODERS = {"convnet": ("denoising",)}
SHARES = {"100 %": 1.0, "25 %": 0.25, "10 %": 0.1}
PICTURE = {"scratch, 10 % of labels": "scratch convnet, 10 %", "denoising, 10 %": "denoising, 10 %", "denoising, 100 %": "denoising, 100 %"}
RECONSTRUCTIONS = {name: method for method, name in NAMES.items()}
ROWS = (
    *(Row(method, "pretrain", f"camvid_small:{method}", {"steps": steps}) for method, steps in STEPS.items()),
    *(
        row
        for encoder, methods in ENCODERS.items()
        for share, fraction in SHARES.items()
        for config in (f"camvid_small:unet,{encoder}",)
        for scratch in (f"scratch {encoder}, {share}",)
        for row in (
            Row(scratch, "segment", config, {"data.fraction": fraction, "freeze": "scratch"}, methods[0]),
            *(Row(f"{NAMES[each]}, {share}", "segment", config, {"data.fraction": fraction}, each, scratch) for each in methods),
        )
    ),
)
NOTE = """Denoising pretraining does not help here, at any share of the labels.  Nor are labels what is missing at 600 steps: a tenth of
them costs the network from scratch about a point.  Rates and lengths of the pretraining were not searched."""
