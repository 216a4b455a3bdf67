"""experiments/study/curves.py: the loss by epoch, its mean over seeds, beside its floor."""

import types

from experiments.study import curves

PAPER = types.SimpleNamespace(CURVES={"example": "loss", "other": "loss"})


def line(values, **numbers):
    return {"row": "example", "numbers": numbers, "curve": [[156 * (index + 1), value] for index, value in enumerate(values)]}


def test_a_curve_is_the_mean_over_seeds_and_its_distance_to_the_floor():
    [table] = curves.markdown(PAPER, [line([0.7, 0.6, 0.59, 0.58], floor=0.5), line([0.6, 0.58, 0.57], floor=0.5)])
    assert table.splitlines() == [
        "| example: validation loss after epoch | 1 | 2 | 3 |",
        "| --- | --- | --- | --- |",
        "| mean over seeds | 0.6500 | 0.5900 | 0.5800 |",
        "| above the floor, 0.5000 | 0.1500 | 0.0900 | 0.0800 |",
    ]


def test_a_loss_whose_minimum_is_0_has_no_line_of_its_floor():
    [table] = curves.markdown(PAPER, [line([0.7])])
    assert len(table.splitlines()) == 3


def test_a_table_without_curves_or_recorded_ones_has_none():
    assert curves.markdown(types.SimpleNamespace(), [line([0.7])]) == []
    assert curves.markdown(PAPER, [{"row": "example", "numbers": {}}]) == []
