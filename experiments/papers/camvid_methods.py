"""CamVid at 96x128 (not a published protocol): five ways to pretrain, each for the same time, then the same fine-tuning.

Each method has the encoder that it is made for: MAE and SimMIM a small ViT with patches of 8 pixels, FCMAE a small
ConvNeXt V2, SparK and denoising the plain convnet.  So there are three networks from scratch, and each pretrained one is
compared with its own.
"""

from experiments.papers import Row

TITLE = "CamVid at 96x128 after equally long pretraining, 11 classes, test split (233 images)"
METRICS = ("mean_iou", "pixel_accuracy", "class_accuracy")
SEEDS = 3
SPLIT = "test"
STEPS = {"masked": 1, "simmim": 1, "fcmae": 1, "spark": 1, "denoising": 1}
"""What each method trains in the same time."""
NAMES = {"masked": "MAE", "simmim": "SimMIM", "fcmae": "FCMAE", "spark": "SparK", "denoising": "denoising"}
ENCODERS = {"vit": ("masked", "simmim"), "convnextv2": ("fcmae",), "convnet": ("spark", "denoising")}
FRACTIONS = {"100 %": 1.0, "10 %": 0.1}
RECONSTRUCTIONS = {name: method for method, name in NAMES.items()}
PICTURE = {f"{name}, 10 %": f"{name}, 10 %" for name in ("scratch vit", "MAE", "scratch convnet", "denoising")}
ROWS = (
    *(Row(method, "pretrain", f"camvid_small:{method}", {"steps": steps}) for method, steps in STEPS.items()),
    *(
        row
        for share, fraction in FRACTIONS.items()
        for encoder, methods in ENCODERS.items()
        for config in (f"camvid_small:unet,{encoder}",)
        for row in (
            Row(f"scratch {encoder}, {share}", "segment", config, {"data.fraction": fraction, "freeze": "scratch"}, methods[0]),
            *(
                Row(f"{NAMES[method]}, {share}", "segment", config, {"data.fraction": fraction}, method, f"scratch {encoder}, {share}")
                for method in methods
            ),
        )
    ),
)
