"""Learning rates of scenes_labels, chosen on validation: every arm, also from scratch, has the same four trials.

Each trial segments with 32 and with 512 labels, one seed. An arm uses the learning rate with the largest sum of both scores.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from .. import papers
from . import Row

TITLE = {"gpu": "Tuning of scenes_labels: 32 and 512 labels, 256 validation scenes"}
METRICS = ("mean_iou", "pixel_accuracy")
SEEDS = 1
SPLIT = "validation"


class Arm(NamedTuple):
    """A network and its start.

    segment   config of the segmentation
    method    config of the pretraining, or "" from scratch
    scratch   name of the arm to compare with, or ""
    """

    name: str
    segment: str
    method: str = ""
    scratch: str = ""


ARMS = (
    Arm("scratch", "scenes:unet"),
    Arm("SparK", "scenes:unet", "scenes:spark,convnet", "scratch"),
    Arm("ViT scratch", "scenes:unet,vit"),
    Arm("MAE", "scenes:unet,vit", "scenes:masked,vit", "ViT scratch"),
    Arm("denoising", "scenes:unet", "scenes:denoising,convnet", "scratch"),
    Arm("SimMIM", "scenes:unet,vit", "scenes:simmim", "ViT scratch"),
    Arm("ConvNeXt scratch", "scenes:unet,convnextv2"),
    Arm("FCMAE", "scenes:unet,convnextv2", "scenes:fcmae,convnextv2", "ConvNeXt scratch"),
)
UNLABELLED = 65_536
BATCH = 256
"""Batch size of the pretraining."""
LENGTHS = {"100k": 400, "400k": 1_600, "1.6M": 6_400}
"""{images seen: steps} of a pretraining."""
RATES = (1e-3, 2e-3, 4e-3, 8e-3)
TRIALS = (32, 512)
"""Numbers of labels in the trials."""


def pretraining(arm: Arm, length: str, images: int = UNLABELLED) -> Row:
    """Return the row that pretrains an arm's encoder on `images` unlabelled images."""
    fields = {"data.train.records": UNLABELLED, "batch_size": BATCH, "steps": LENGTHS[length], "data.fraction": images / UNLABELLED}
    fields |= {"evaluate_every": LENGTHS[length], "save_every": LENGTHS[length]}
    return Row(f"{arm.name} pretraining, {length}{_of(images)}", "pretrain", arm.method, fields, scale="gpu")


def segmented(arm: Arm, labels: int, fields: Mapping[str, Any], ending: str = "", length: str = "400k", images: int = UNLABELLED) -> Row:
    """Return the row that segments with `labels` labelled images, from scratch or from the arm's pretraining."""
    shared = {"data.train.records": UNLABELLED, "data.fraction": labels / UNLABELLED, "batch_size": 16, "steps": 1_000, **fields}
    shared |= {"evaluate_every": shared["steps"], "save_every": shared["steps"]}
    if arm.segment.endswith(",vit"):
        shared |= papers.FIXED_POSITIONS  # `experiments.study.together` supports only position tables that keep the pretraining's grid
    start = {"init": pretraining(arm, length, images).name} if arm.method else {}
    compare = f"{arm.scratch}, {labels} labels" if arm.scratch else ""
    name = f"{arm.name}, {labels} labels{ending}"
    return Row(
        name, "segment", arm.segment, shared if arm.method else {**shared, "transfer": "scratch"}, **start, compare=compare, scale="gpu"
    )


def _of(images: int) -> str:
    return "" if images == UNLABELLED else f", {images:,} images"


def _trials(arm: Arm) -> list[Row]:
    trials = [(rate, labels) for rate in RATES for labels in TRIALS]
    return [segmented(arm, labels, {papers.RATE: rate}, f", rate {rate:g}")._replace(compare="") for rate, labels in trials]


ROWS = (*(pretraining(arm, "400k") for arm in ARMS if arm.method), *(row for arm in ARMS for row in _trials(arm)))
TIERS = tuple((tuple(row.name for arm in arms for row in _trials(arm)), 1) for arms in (ARMS[2:4], ARMS[:2], ARMS[4:]))
"""(rows, number of seeds), in the order of measurement."""
