"""DRIVE: vessels of the retina, 565x584, inside the field of view. 18 images train, 2 validate, and the official 20 test.

Command   python -m experiments.segment --config=drive
          python -m experiments.evaluate --workdir=runs/drive --split=test
Cost      see experiments/results/README.md      Expected  Dice of the vessels in experiments/results/drive.jsonl
          (published: U-Net 0.8157, a three-path U-Net 0.8291; Sci Rep 2023, s41598-023-50141-0, table 2)
          `unet,reference` has the 64 to 1024 channels of Ronneberger et al. 2015 and 25 times as many steps; it needs an accelerator
"""

from ml_collections import ConfigDict

from aeseg.data.colours import PhotometricJitter
from aeseg.data.published import drive_splits
from aeseg.data.transforms import HorizontalFlip, RandomCrop, RandomRotate, VerticalFlip
from aeseg.models.heads.unet import UNetHead
from aeseg.runs.configs import data_config, number, run_config, segmenter_config, warm_adamw
from aeseg.spec import choose, names, recipe, spec

ARGUMENTS = ("unet", "reconstruction", "denoising", "spark", "fcmae", "variational", "quantised", "unet,reference")
TARGETS = {"target_mean": (0.722, 0.388, 0.229), "target_std": (0.181, 0.116, 0.07), "content": 0.06}
"""Channel statistics of the 18 training images inside the field of view, and a `content` that units inside it reach.

Structure is 24 % of the variance of a normalised unit (median 14 %). With one mean and std for all channels it is 1.3 % (median 0.4 %), and
colour is the rest. 28 % of the units lie outside the field of view. Without `content`, noise of one grey level is normalised to variance 1
there; with it, about a sixth of these units still counts. (Units of 8 pixels.)
"""


def get_config(argument: str = "unet") -> ConfigDict:
    """Return the config of `unet` (segments; `,reference` is as large as the paper's) or an autoencoder (pretrains on the 18 images)."""
    name, _, size = argument.partition(",")
    segments = name in names("aeseg.models.heads")
    sized = choose(size or "small", small={"encoder": "small", "steps": 800}, reference={"encoder": "unet", "steps": 20_000})
    encoder = recipe("aeseg.models.encoders", "convnet", sized["encoder"])
    encoder.update({"norm": "batch", "mean": (0.45,), "std": (0.25,)})  # as in the small encoder
    if segments:
        method = segmenter_config(spec(UNetHead, classes=2, norm="batch"), encoder, 2, objective="cross_entropy_dice")
    else:
        method = recipe("aeseg.methods", name)
        method.encoder = encoder
        if "target_mean" in method:
            method.update(TARGETS)
    transforms = (
        spec(RandomRotate, degrees=180.0),
        spec(RandomCrop, height=96, width=96),
        spec(HorizontalFlip),
        spec(VerticalFlip),
        spec(PhotometricJitter),
    )
    steps = number(sized["steps"])
    return run_config(
        method,
        data_config(drive_splits(), transforms=transforms),
        steps=steps,
        batch_size=8,
        window=(96, 96),
        optimiser=warm_adamw(2e-3, steps),
        evaluate_every=400,
        save_every=400,
        keep=1,
        next="" if segments else "drive:unet",
    )
