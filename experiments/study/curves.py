"""Validation curves of a table's rows: the loss by epoch beside its floor."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

SHOWN = (1, 2, 3, 5, 10, 20, 30, 40, 50)
"""Epochs in the printed curve."""


def markdown(paper: Any, results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a Markdown table for each of the paper's CURVES that is recorded; a run is evaluated once an epoch.

    The mean over seeds, above the floor, if the loss has one: the loss of a perfect reconstruction.
    """
    tables = []
    for row, metric in getattr(paper, "CURVES", {}).items():
        lines = [line for line in results if line["row"] == row and line.get("curve")]
        if lines:
            tables.append(_table(row, metric, lines))
    return tables


def _table(row: str, metric: str, lines: Sequence[Mapping[str, Any]]) -> str:
    epochs = min(len(line["curve"]) for line in lines)
    mean = np.mean([[value for _, value in line["curve"][:epochs]] for line in lines], axis=0)
    shown = [epoch for epoch in SHOWN if epoch <= epochs]
    head = [f"{row}: validation {metric} after epoch", *map(str, shown)]
    rows = [["mean over seeds", *(f"{mean[epoch - 1]:.4f}" for epoch in shown)]]
    floors = [line["numbers"]["floor"] for line in lines if "floor" in line["numbers"]]
    if floors:
        floor = float(np.mean(floors))
        rows.append([f"above the floor, {floor:.4f}", *(f"{mean[epoch - 1] - floor:.4f}" for epoch in shown)])
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(each)} |" for each in cells)
