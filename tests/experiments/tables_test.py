"""experiments/tables.py: intervals, paired differences, and no row twice."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from aeseg.types import UserError
from experiments import cli, measurements, tables
from experiments.papers import scenes


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A results folder in which scenes has three seeds."""
    monkeypatch.setattr(measurements, "RESULTS", str(tmp_path))
    found = {"scratch": (0.20, 0.22, 0.27), "pretrained": (0.25, 0.26, 0.33)}
    with open(tmp_path / "scenes.jsonl", "w", encoding="utf-8") as file:
        for row, values in found.items():
            for seed, value in enumerate(values):
                numbers = {"mean_iou": value, "pixel_accuracy": 0.5}
                line = {"row": row, "seed": seed, "numbers": numbers, "seconds": 10.0, "device": "1 x cpu", "commit": "abc", "config": "k"}
                file.write(json.dumps(line) + "\n")
    return tmp_path


def test_the_interval_is_that_of_student():
    values = [0.2, 0.25, 0.4, 0.3]
    mean, half = tables.interval(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    np.testing.assert_allclose([mean - half, mean + half], [low, high])
    assert math.isnan(tables.interval([0.5])[1])


def test_differences_are_taken_seed_by_seed(results):
    table = tables.markdown("scenes")
    line = next(line for line in table.splitlines() if line.startswith("| pretrained"))
    mean, half = tables.interval([0.05, 0.04, 0.06])
    assert f"| +{100 * mean:.1f} ± {100 * half:.1f} |" in line
    assert scenes.TITLE in table
    assert "1 x cpu; commit abc" in table


def test_an_unknown_table_and_one_without_results_are_sentences(results, capsys):
    assert cli.guarded(tables.run, ["program", "--table=scene"]) == 2
    assert "did you mean 'scenes'?" in capsys.readouterr().err
    with pytest.raises(UserError, match="Nothing of drive has been measured"):
        tables.markdown("drive")


def test_of_each_network_and_form_the_last_speed_is_shown(results):
    assert tables.speed() == ""
    common = {
        "network": "unet",
        "size": 128,
        "batch": 4,
        "low": 0.8,
        "high": 0.9,
        "seconds": 1.0,
        "torch_seconds": 0.9,
        "pairs": 7,
        "device": "x",
    }
    rows = [{**common, "form": "fast", "ratio": 0.5}, {**common, "form": "plain", "ratio": 0.3}, {**common, "form": "fast", "ratio": 0.85}]
    (results / "bench.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in [*rows, {"loading": "camvid_small:unet", "share": 0.04}])
    )
    shown = [line for line in tables.speed().splitlines() if line.startswith("| unet")]
    assert [line.split(" | ")[1:3] for line in shown] == [["fast", "0.85 (0.80 to 0.90)"], ["plain", "0.30 (0.80 to 0.90)"]]


def test_a_tables_note_stands_below_it(results, monkeypatch):
    monkeypatch.setattr(scenes, "NOTE", "What was tried.", raising=False)
    assert tables.markdown("scenes").endswith("\n\nWhat was tried.")


def test_what_was_drawn_of_a_table_is_linked(results):
    assert tables.pictures("scenes") == ""
    (results / "pictures").mkdir()
    (results / "pictures" / "scenes_reconstructions.jpg").touch()
    assert tables.pictures("scenes") == "\n\nPictures: [reconstructions](experiments/results/pictures/scenes_reconstructions.jpg)."
