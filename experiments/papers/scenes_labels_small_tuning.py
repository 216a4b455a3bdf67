"""Learning rates of scenes_labels_small, chosen on validation: every arm, also from scratch, has the same four trials, 128 labels."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from .. import papers
from . import Row

TITLE = "Tuning of scenes_labels_small: scenes 32x32, 128 labels, 256 validation scenes"
METRICS = ("mean_iou", "pixel_accuracy")
SEEDS = 1
SPLIT = "validation"
RATES = (1e-3, 2e-3, 4e-3, 8e-3)
IMAGES = 16_384
SELECTIVE: dict[str, object] = {"method.sampler.target": "aeseg.selective:Selective"}


class Arm(NamedTuple):
    """An encoder and its start; `method` pretrains it, or is "" from scratch, with the config changes `fields`."""

    name: str
    encoder: str
    method: str = ""
    fields: Mapping[str, object] = {}


SCRATCH = {"convnet": "scratch", "vit": "ViT scratch", "convnextv2": "ConvNeXt scratch"}
ARMS = (
    *(Arm(name, encoder) for encoder, name in SCRATCH.items()),
    Arm("SparK", "convnet", "spark"),
    Arm("SparK, selective", "convnet", "spark", SELECTIVE),
    Arm("denoising", "convnet", "denoising"),
    Arm("MAE", "vit", "masked"),
    Arm("MAE, selective", "vit", "masked", SELECTIVE),
    Arm("SimMIM", "vit", "simmim"),
    Arm("FCMAE", "convnextv2", "fcmae"),
)


def lasting(steps: int) -> dict[str, object]:
    """Return the fields of a run of so many steps that scores and saves at its end."""
    return {"steps": steps, "evaluate_every": steps, "save_every": steps}


def pretraining(arm: Arm, steps: int = 6_000, images: int = IMAGES, seeds: int = 0) -> Row:
    """Return the row that pretrains an arm's encoder for some steps on some of the images."""
    fields = {**arm.fields, **lasting(steps), "data.fraction": images / IMAGES}
    ending = f"{steps:,} steps" + ("" if images == IMAGES else f", {images:,} images")
    return Row(f"{arm.name} pretraining, {ending}", "pretrain", f"scenes_small:{arm.method},{arm.encoder}", fields, seeds=seeds)


def segmented(arm: Arm, labels: int, fields: Mapping[str, Any], ending: str = "", init: str = "", compare: str = "", seeds: int = 0) -> Row:
    """Return the row that segments with some labels, from scratch or from a pretraining."""
    shared = {"data.fraction": labels / IMAGES, **({} if init else {"transfer": "scratch"}), **fields}
    name = f"{arm.name}, {labels} labels{ending}"
    return Row(name, "segment", f"scenes_small:unet,{arm.encoder}", shared, init, compare, seeds=seeds)


def _trials(arm: Arm) -> list[Row]:
    start = pretraining(arm).name if arm.method else ""
    return [segmented(arm, 128, {papers.RATE: rate}, f", rate {rate:g}", start) for rate in RATES]


ROWS = (*(pretraining(arm) for arm in ARMS if arm.method), *(row for arm in ARMS for row in _trials(arm)))
