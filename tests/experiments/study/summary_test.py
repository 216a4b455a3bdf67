"""experiments/study/summary.py: a difference uses the seeds for which both rows have the table's first metric."""

import types

import pytest

from experiments.papers import Row
from experiments.study import summary

PAPER = types.SimpleNamespace(METRICS=("mean_iou", "dice"), ROWS=(Row("scratch", "a", "b"), Row("ours", "a", "b", compare="scratch")))


def found(row, *numbers):
    return [
        {"row": row, "seed": seed, "numbers": each, "seconds": 1.0, "device": "cpu", "commit": "abc"} for seed, each in enumerate(numbers)
    ]


@pytest.mark.parametrize("lacks", ["scratch", "ours"])
def test_rows_without_the_first_metric_have_no_difference(lacks):
    with_all, without = ({"mean_iou": 0.5}, {"mean_iou": 0.6}), ({"dice": 0.7}, {"mean_iou": 0.4})
    measured = [line for row in ("scratch", "ours") for line in found(row, *(without if row == lacks else with_all))]
    _, ours = summary.lines(PAPER, measured, {})
    assert ours.differences == pytest.approx([0.2 if lacks == "scratch" else -0.2])
    none = [line for row in ("scratch", "ours") for line in found(row, {"dice": 0.7} if row == lacks else {"mean_iou": 0.5})]
    assert [line.differences for line in summary.lines(PAPER, none, {})] == [[], []]


def test_a_line_that_another_commit_scored_names_both():
    lines = [*found("scratch", {"mean_iou": 0.5}), {**found("scratch", {"mean_iou": 0.6})[0], "seed": 1, "scored": "def"}]
    assert summary.lines(PAPER, lines, {})[0].commits == ("abc", "abc (scored by def)")
