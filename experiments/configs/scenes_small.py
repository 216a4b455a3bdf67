"""Generated scenes of 32x32: the networks of the table scenes_labels_small, small enough for twelve hours of two cores.

Command   python -m experiments.pretrain --config=scenes_small:spark,convnet
          python -m experiments.segment --config=scenes_small:unet,convnet --init=runs/scenes-small-spark-convnet
Cost      see experiments/papers/scenes_labels_small.py      Expected  not yet measured
"""

from typing import Any

from ml_collections import ConfigDict

from aeseg.data.sources.scenes import CLASSES, Scenes
from aeseg.data.transforms import HorizontalFlip
from aeseg.runs.configs import data_config, number, run_config, segmenter_config, warm_adamw
from aeseg.spec import recipe, spec
from aeseg.types import UserError

SIDE, IMAGES = 32, 16_384
ENCODERS = {"convnet": {}, "vit": {"patch": 4, "depth": 4}, "convnextv2": {}}
"""{encoder: changes to its small size}; `vit` has 8 x 8 patches of 4 pixels."""
ARGUMENTS = (
    *(f"unet,{encoder}" for encoder in ENCODERS),
    *("spark,convnet", "denoising,convnet", "masked,vit", "simmim,vit", "fcmae,convnextv2"),
)


def get_config(argument: str = "unet,convnet") -> ConfigDict:
    """Return the config of a U-Net on an encoder (segments; 128 labels) or of a method on its encoder (pretrains)."""
    if argument not in ARGUMENTS:
        raise UserError(f"scenes_small has {', '.join(ARGUMENTS)}; got {argument!r}. Name one of these.")
    name, kind = argument.split(",")
    segments, encoder = name == "unet", recipe("aeseg.models.encoders", kind)
    encoder.update(ENCODERS[kind])
    if segments:
        method = segmenter_config(recipe("aeseg.models.heads", "unet"), encoder, len(CLASSES))
    else:
        method = recipe("aeseg.methods", name)
        encoder.update({"has_mask_token": True} if name == "simmim" else {})
        method.encoder = encoder
        if name == "simmim":
            method.unit, method.decoder.stride = 8, encoder.patch
    sizes = {"train": IMAGES, "validation": 256, "test": 512}
    splits = {split: spec(Scenes, split=split, records=records, height=SIDE, width=SIDE) for split, records in sizes.items()}
    steps = number(600 if segments else 6_000)
    fraction: dict[str, Any] = {"fraction": 128 / IMAGES} if segments else {}
    return run_config(
        method,
        data_config(splits, transforms=(spec(HorizontalFlip),), **fraction),
        steps=steps,
        batch_size=16,
        window=(SIDE, SIDE),
        optimiser=warm_adamw(2e-3, steps, **({} if segments else {"b2": 0.95})),
        evaluate_every=steps,
        save_every=steps,
        keep=1,
        next="" if segments else f"scenes_small:unet,{kind}",
    )
