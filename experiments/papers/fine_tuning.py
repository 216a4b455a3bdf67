"""What fine-tuning does with a pretrained encoder: LP-FT, decoder transfer, re-estimated statistics and layer decay, crossed.

Four settings: DRIVE with 1 and 4 labelled retinas, CamVid at 72x96 with 1/60 and 1/16 of the labels. One pretraining of each set, denoising
with a U-Net decoder on all its training images; all rows of a setting have equally many segmentation steps at the same learning rate.

Written before the first test score of these rows:
- Factors: the start (fine-tuning at once; a frozen encoder for a third of the steps, then all weights: LP-FT, Kumar et al. 2022), the
  decoder (new; from the pretraining, Brempong et al. 2022), layer decay (none; 0.7), and, where an encoder is frozen, its batch norm
  averages (re-estimated on whole training images; from the pretraining). Every combination, and scratch; 5 seeds each.
- Primary contrasts, by the mean IoU on the test images, each the mean over all settings and the levels of the other factors, paired by
  seed, with Holm's correction over five: LP-FT (re-estimated) minus at once; decoder minus new; re-estimated minus pretraining's averages;
  layer decay minus none; fine-tuning at once, of the encoder alone, minus scratch.
- Expected: the decoder gains at the fewest labels; LP-FT and layer decay lose little or nothing; averages do not matter, since batch norm
  moves on when the encoder is released; fine-tuning gains nothing over scratch, as in drive_labels and camvid_labels.
- Learning rate (6e-3) and squares (6 and 32 pixels) are the best of earlier trials on validation for denoising and scratch
  (drive_labels_tuning, camvid_labels_tuning). The decay 0.7 and the third of the steps are not tuned.
- Seeds 0 to 4, in this order; no seed is dropped, and nothing is stopped early because of a score. What the minutes do not reach is not
  measured. Contrasts within a setting are exploratory.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .. import papers
from . import Row

TITLE = "Fine-tuning a denoising autoencoder: DRIVE with 1 and 4 labels, CamVid at 72x96 with 1/60 and 1/16 of the labels"
METRICS = ("mean_iou", "pixel_accuracy")
SEEDS = 5
SPLIT = "test"
REGISTERED = "4804442"
PICTURE = {"from scratch": "DRIVE, 1 label: scratch", "LP-FT, decoder": "DRIVE, 1 label: LP-FT, decoder"}
CHOSEN = "Learning rate and squares are the best of earlier trials on validation (drive_labels_tuning, camvid_labels_tuning)."

NOTE = """Seeds 0 and 1 of DRIVE with one label were measured on a busy machine, and the seconds of two of their rows include a pause of
half an hour: `at once, decoder, decay` (seed 0) and `LP-FT, decay` (seed 1)."""


class Setting(NamedTuple):
    """A data set with some labels: configs that segment and pretrain, fraction of the labels, steps, and further fields."""

    name: str
    segment: str
    pretrain: str
    fraction: float
    steps: int
    fields: Mapping[str, object]


SETTINGS = (
    Setting("DRIVE, 1 label", "drive", "drive", 1 / 16, 600, {"batch_size": 4}),
    Setting("DRIVE, 4 labels", "drive", "drive", 1 / 4, 600, {"batch_size": 4}),
    Setting("CamVid, 1/60", "camvid_labels", "camvid", 1 / 60, 1500, {}),
    Setting("CamVid, 1/16", "camvid_labels", "camvid", 1 / 16, 1500, {}),
)
STARTS = ("at once", "LP-FT", "LP-FT, old averages")
DECODERS = {"": "fine-tune", ", decoder": "fine-tune-decoder"}
DECAYS = {"": 1.0, ", decay": 0.7}
AVERAGES = {"LP-FT": "re-estimated", "LP-FT, old averages": "pretrained"}


def _lasting(steps: int) -> dict[str, object]:
    return {"steps": steps, "evaluate_every": steps, "save_every": steps}


def _rows(setting: Setting) -> Iterator[Row]:
    common = {"data.fraction": setting.fraction, papers.RATE: 6e-3, **setting.fields}
    whole, first = _lasting(setting.steps), setting.steps // 3
    start, scratch = f"pretraining: {setting.pretrain}", f"{setting.name}: scratch"
    yield Row(scratch, "segment", setting.segment, {**common, **whole, "transfer": "scratch"})
    for decoder, transfer in DECODERS.items():
        for decay, factor in DECAYS.items():
            fields = {**common, **whole, "transfer": transfer, "optimiser.layer_decay": factor}
            yield Row(f"{setting.name}: at once{decoder}{decay}", "segment", setting.segment, fields, start, scratch)
        for name, averages in AVERAGES.items():
            frozen = f"{setting.name}: {name}{decoder}, first third"
            still = {"optimiser.freeze": ("encoder/*",), "method.frozen_encoder": True, "statistics": averages, "transfer": transfer}
            yield Row(frozen, "segment", setting.segment, {**common, **_lasting(first), **still}, start)
            for decay, factor in DECAYS.items():
                fields = {**common, **_lasting(setting.steps - first), "transfer": "continue", "optimiser.layer_decay": factor}
                yield Row(f"{setting.name}: {name}{decoder}{decay}", "segment", setting.segment, fields, frozen, scratch)


ROWS = (
    *(Row(f"pretraining: {argument}", "pretrain", f"fine_tuning:{argument}") for argument in ("drive", "camvid")),
    *(row for setting in SETTINGS for row in _rows(setting)),
)


def _against(start: tuple[str, str], decoder: tuple[str, str] = ("", ""), decay: tuple[str, str] = ("", "")) -> Iterator[tuple[str, str]]:
    """Yield the cells of each setting with the first of two levels, and with the second, at every level of factors that do not differ."""
    decoders = [decoder] if decoder[0] != decoder[1] else [(each, each) for each in DECODERS]
    decays = [decay] if decay[0] != decay[1] else [(each, each) for each in DECAYS]
    for setting, two, other in itertools.product(SETTINGS, decoders, decays):
        yield tuple(f"{setting.name}: {start[side]}{two[side]}{other[side]}" for side in (0, 1))  # type: ignore[misc]


PRIMARY = {
    "LP-FT": tuple(_against(("LP-FT", "at once"))),
    "decoder": tuple(pair for start in STARTS for pair in _against((start, start), decoder=(", decoder", ""))),
    "re-estimated averages": tuple(_against(("LP-FT", "LP-FT, old averages"))),
    "layer decay": tuple(pair for start in STARTS for pair in _against((start, start), decay=(", decay", ""))),
    "fine-tuning": tuple((f"{setting.name}: at once", f"{setting.name}: scratch") for setting in SETTINGS),
}
