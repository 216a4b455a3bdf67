"""Trials of the table `reference`: learning rates and widths of a small U-Net, on validation; the best is scored once on the test split."""

from . import RATE, Row

TITLE = "Tuning of reference: a small U-Net, scenes 32x32, 128 labels, 256 validation scenes"
METRICS = ("mean_iou", "pixel_accuracy")
SEEDS = 2
SPLIT = "validation"
RATES = (1e-3, 2e-3, 4e-3, 8e-3)
"""Learning rates; the default is 2e-3."""
WIDTHS: dict[str, dict[str, object]] = {
    "default width": {},
    "twice as wide": {"method.encoder.widths": (32, 64, 128), "method.encoder.bottleneck": 256},
}
TRIALS: dict[str, dict[str, object]] = {
    f"{name}, rate {rate:g}": {**fields, RATE: rate} for name, fields in WIDTHS.items() for rate in RATES
}
"""Fields of each trial."""
ROWS = tuple(Row(name, "segment", "reference:small", {"transfer": "scratch", **fields}) for name, fields in TRIALS.items())
