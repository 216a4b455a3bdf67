"""Learning rate of the default commands on scenes, chosen on validation: scratch and pretrained have the same trials, 128 labels.

The rate of the pretraining was chosen before, by the validation loss of single runs: 0.00916 after 1,500 steps at 2e-3, 0.00917 after 1,150
steps at 4e-3, and 0.00907 after 1,150 steps at 6e-3.
"""

from . import RATE, Row

TITLE = "Tuning of scenes: 128 labelled images, 256 validation images"
METRICS = ("mean_iou", "pixel_accuracy")
SEEDS = 2
SPLIT = "validation"
RATES = (2e-3, 4e-3, 8e-3)


def _trials(name: str, init: str = "") -> list[Row]:
    start = {} if init else {"transfer": "scratch"}
    return [Row(f"{name}, rate {rate:g}", "segment", "scenes:unet", {**start, RATE: rate}, init) for rate in RATES]


ROWS = (
    Row("denoising", "pretrain", "scenes:denoising", {"steps": 1150, RATE: 6e-3}),
    *_trials("scratch"),
    *_trials("pretrained", "denoising"),
)
