"""Learning rates of nuclei_labels, chosen on validation: scratch and the primary method have the same three trials, 4 labels, 3 seeds."""

from . import RATE, Row

TITLE = "Tuning of nuclei_labels: 4 labelled images, 50 validation images"
METRICS = ("mean_iou", "pixel_accuracy")
SEEDS = 3
SPLIT = "validation"
RATES = (2e-3, 4e-3, 8e-3)
TRAIN = 234
"""Number of training images."""
LABELS = {"data.fraction": 4 / TRAIN}


def _trials(name: str, init: str = "") -> list[Row]:
    start = {} if init else {"transfer": "scratch"}
    return [Row(f"{name}, rate {rate:g}", "segment", "crops:unet,nuclei", {**LABELS, **start, RATE: rate}, init) for rate in RATES]


ROWS = (*_trials("scratch"), Row("SparK pretraining", "pretrain", "crops:spark,nuclei"), *_trials("SparK", "SparK pretraining"))
