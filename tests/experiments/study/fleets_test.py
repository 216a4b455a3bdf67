"""experiments/study/fleets.py: shared programs train a table's rows, pretrainings first, each once, until the minutes are over."""

import json
import types

import numpy as np
import pytest

from experiments import papers
from experiments.papers import Row
from experiments.recorded import measurements
from experiments.study import fleets, together

SIZES = {f"data.{split}.{name}": 16 for split in ("train", "validation", "test") for name in ("height", "width", "records")}
SHARED = {**SIZES, **papers.FIXED_POSITIONS, "window": (16, 16), "batch_size": 4, "optimiser.warmup": 0}
LABELLED = {**SHARED, "data.fraction": 0.5, "steps": 2, "evaluate_every": 2, "save_every": 2}
PRETRAINING = {**SIZES, "window": (16, 16), "batch_size": 4, "optimiser.warmup": 0, "steps": 4, "evaluate_every": 4, "save_every": 4}
ROWS = (
    Row("MAE", "pretrain", "scenes:masked,vit,tiny", PRETRAINING),
    Row("scratch", "segment", "scenes:linear,vit,tiny", {**LABELLED, "transfer": "scratch"}),
    Row("pretrained", "segment", "scenes:linear,vit,tiny", {**LABELLED, "optimiser.learning_rate": 1e-4}, "MAE", "scratch"),
)
PAPER = types.SimpleNamespace(ROWS=ROWS, SPLIT="test", SEEDS=2, TIERS=((("scratch", "pretrained"), 2),))


@pytest.fixture
def small(tmp_path, monkeypatch):
    for module, name, value in ((together, "CHUNK", 2), (fleets, "CHUNK", 2), (fleets, "PRETRAININGS", 2)):
        monkeypatch.setattr(module, name, value)
    (tmp_path / "results/configs").mkdir(parents=True)
    monkeypatch.setattr(measurements, "RESULTS", str(tmp_path / "results"))
    return tmp_path


def test_each_row_is_trained_once_after_its_pretraining_and_recorded(small):
    said = []
    workshop = fleets.Workshop(str(small / "runs"), said.append, members=4)
    groups = fleets.missing("table", PAPER, workshop)
    assert [[(row.name, seed) for row, seed in group] for group in groups] == [
        [("MAE", 0), ("MAE", 1)],
        [("scratch", 0), ("pretrained", 0), ("scratch", 1), ("pretrained", 1)],
    ]
    fleets.measure("table", PAPER, workshop, 0.0)
    assert "the minutes are over in MAE and 1 more" in said[-1]
    fleets.measure("table", PAPER, workshop, float("inf"))
    assert fleets.missing("table", PAPER, workshop) == []
    assert fleets.record("table", PAPER, workshop.folder) == 6
    assert fleets.record("table", PAPER, workshop.folder) == 0
    lines = measurements.current("table", PAPER)
    assert {(line["row"], line["seed"]) for line in lines} == {(row.name, seed) for row in ROWS for seed in (0, 1)}
    assert all(0 <= line["numbers"]["mean_iou"] <= 1 for line in lines if line["row"] != "MAE")
    raw = [json.loads(line) for line in (small / "runs/table.jsonl").read_text().splitlines()]
    assert {line["row"]: len(line["losses"]) for line in raw} == {"MAE": 2, "scratch": 1, "pretrained": 1}
    encoder = workshop.start("MAE", 1)["params"]["encoder"]
    assert np.abs(encoder["patches"]["kernel"] - workshop.start("MAE", 0)["params"]["encoder"]["patches"]["kernel"]).max() > 0
