"""experiments/study/rehearsal.py: every row trains for a few steps, after the row it starts from; nothing is recorded."""

import os
import types

import pytest

from aeseg import jsonlines
from aeseg.runs import workdir as workdirs
from aeseg.spec import build
from aeseg.types import UserError
from experiments import tables
from experiments.machine import commands
from experiments.papers import Row
from experiments.recorded import measurements
from experiments.study import rehearsal

ROWS = (
    Row("MAE", "pretrain", "mae", {"data.on_error": "skip"}),
    Row("U-Net", "segment", "camvid_labels:unet,large", {"data.fraction": 0.5}),
    Row("U-Net, all", "segment", "camvid_labels:unet,large", {"data.fraction": 1.0}),
    Row("from MAE", "segment", "segment", init="MAE"),
    Row("once more", "evaluate", "segment", init="U-Net", best=True),
)
PAPER = types.SimpleNamespace(ROWS=ROWS, SPLIT="test", SEEDS=3)


def test_a_shortened_config_differs_only_in_length_and_size():
    config = rehearsal.shortened(ROWS[1], {"batch_size": "2"}, 20, (144, 192))
    assert (config.steps, config.optimiser.steps, config.optimiser.warmup, config.evaluate_every, config.save_every) == (20, 20, 1, 20, 20)
    assert (config.batch_size, config.data.fraction, config.window) == (2, 0.5, (144, 192))
    for transforms in (config.data.transforms, config.data.evaluation_transforms):
        last = build(transforms)[-1]
        assert (last.height, last.width) == (144, 192)
    whole = rehearsal.shortened(ROWS[1], {}, 20, ())
    assert (whole.window, whole.data.evaluation_transforms) == ((352, 480), ())
    masked = rehearsal.shortened(ROWS[0], {}, 20, (96, 128)).method
    assert masked.encoder.grid == (96 // masked.encoder.patch, 128 // masked.encoder.patch)


def test_every_row_is_tried_except_rows_that_start_from_a_failed_row(tmp_path, monkeypatch):
    seen = []

    def call(command, share, log=""):
        seen.append(command)
        place = next(word for word in command if word.startswith("--workdir=")).partition("=")[2]
        assert os.path.isfile(f"{place}.json")
        if "MAE" in place:
            raise UserError("exit code 2: no data")
        if command[2] == "experiments.evaluate":
            return
        jsonlines.write(os.path.join(place, "metrics.jsonl"), {"step": 5, "train/loss": 2.0})
        jsonlines.write(os.path.join(place, "metrics.jsonl"), {"step": 20, "train/loss": 1.25})

    monkeypatch.setattr(commands, "call", call)
    monkeypatch.setattr(measurements, "RESULTS", str(tmp_path / "results"))
    told, whole = rehearsal.rehearse("table", PAPER, str(tmp_path), {}, 1, 20)
    assert not whole
    assert told.splitlines()[0] == "MAE: failed: exit code 2: no data"
    assert told.splitlines()[1].startswith("U-Net: loss 2 to 1.25, ")
    left = "from MAE: failed: left out, because MAE failed"
    assert told.splitlines()[2:4] == ["U-Net, all: as U-Net", left]
    assert told.splitlines()[4].startswith("once more: scored, ")
    assert told.splitlines()[5:] == ["3 of 5 rows ran 20 steps."]
    assert [command[2].partition(".")[2] for command in seen] == ["pretrain", "segment", "evaluate"]
    assert seen[-1][-2:] == ["--split=validation", "--best"]
    assert not os.path.exists(tmp_path / "results")


def test_a_row_runs(tmp_path):
    """A tiny row of the scenes runs through its command."""
    row = Row("denoising", "pretrain", "pretrain:denoising,tiny", {"data.train.records": 8, "data.validation.records": 8})
    extra = {"batch_size": "8", "data.threads": "1"}
    told, whole = rehearsal.rehearse("scenes", types.SimpleNamespace(ROWS=(row,)), str(tmp_path), extra, 1, 2, (32, 48))
    assert whole, told
    assert told.splitlines()[-1] == "1 of 1 rows ran 2 steps."
    stored = workdirs.stored_config(str(tmp_path / "scenes-rehearsal" / "denoising-0"))
    assert (stored.steps, stored.window, stored.data.threads) == (2, (32, 48), 1)
    again, whole = rehearsal.rehearse("scenes", types.SimpleNamespace(ROWS=(row,)), str(tmp_path), extra, 1, 2, (32, 48))
    assert whole, again
    losses = told.splitlines()[0].removeprefix("denoising: ").rpartition(",")[0]
    assert again.splitlines()[0].startswith(f"denoising: had run before, {losses}, ")
    assert again.splitlines()[-1] == "0 of 1 rows ran 2 steps, 1 had run before."


@pytest.mark.parametrize("size", ["144", "144x", "0x5", "a"])
def test_an_invalid_size_is_refused(size):
    with pytest.raises(UserError, match="height x width"):
        tables._size(size)
    assert tables._size("") == ()


def test_zero_steps_are_refused(tmp_path):
    with pytest.raises(UserError, match="at least one step"):
        rehearsal.rehearse("table", PAPER, str(tmp_path), {}, 1, 0)
