"""Measurements of a table by row: values over seeds, differences to the compared row, and the paper's numbers."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..recorded.rows import Row
from . import significance


class Unit(NamedTuple):
    """Unit in which a metric is printed: its name, the factor to it, and the number of decimals."""

    name: str = "%"
    factor: float = 100.0
    digits: int = 1


UNITS = {
    "psnr": Unit("dB", 1.0, 2),
    **dict.fromkeys(("binary_cross_entropy", "floor"), Unit("nats", 1.0, 4)),
    **dict.fromkeys(("bound", "importance_bound", "rate"), Unit("bits per dimension", 1.0, 3)),
    **dict.fromkeys(("active_units", "perplexity"), Unit("number", 1.0, 0)),
}
"""Units of metrics that are not fractions of 1."""


def unit(metric: str) -> Unit:
    """Return the unit of a metric; most are fractions, printed in %."""
    return UNITS.get(metric, Unit())


def scores_images(paper: Any) -> bool:
    """Return whether the table scores its autoencoders by their images, not only by their segmentations."""
    return "psnr" in getattr(paper, "METRICS", ())


class Line(NamedTuple):
    """The measurements of a row: the values of each metric, one per seed, as fractions of 1 or in their UNITS.

    `differences` are differences of `metric`, the table's first that the row has, to the compared row, for seeds that both rows have;
    `seconds` is the mean of a run; `failures` are the errors of seeds without a result.
    """

    row: Row
    values: dict[str, list[float]]
    differences: list[float]
    seeds: int
    seconds: float
    devices: tuple[str, ...]
    commits: tuple[str, ...]
    failures: tuple[str, ...] = ()
    metric: str = ""


def metrics(paper: Any, results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the table's metrics that some row has; all metrics if no row has any."""
    return [metric for metric in paper.METRICS if any(metric in line["numbers"] for line in results)] or list(paper.METRICS)


def lines(paper: Any, results: Sequence[Mapping[str, Any]], failed: Mapping[tuple[str, int], str]) -> list[Line]:
    """Return the rows that have a score or failed, in the table's order; a pretraining row is scored by its segmentations.

    `results` is what `measurements.current` gives, `failed` the errors by row and seed.
    """
    names = metrics(paper, results)
    of_row = {row.name: {line["seed"]: line for line in results if line["row"] == row.name} for row in paper.ROWS}
    every = []
    for row in paper.ROWS:
        mine, other = of_row[row.name], of_row.get(row.compare, {})
        values = {name: [line["numbers"][name] for line in mine.values() if name in line["numbers"]] for name in names}
        failures = tuple(f"seed {seed}: {error}" for (name, seed), error in failed.items() if name == row.name and seed not in mine)
        if not any(values.values()) and not failures:
            continue
        metric = next((name for name in names if values[name]), names[0])
        first, theirs = ({seed: line["numbers"].get(metric) for seed, line in each.items()} for each in (mine, other))
        both = [seed for seed in sorted(first.keys() & theirs.keys()) if None not in (first[seed], theirs[seed])]
        differences = [first[seed] - theirs[seed] for seed in both]
        seconds = float(np.mean([line["seconds"] for line in mine.values()])) if mine else float("nan")
        devices = tuple(sorted({line["device"] for line in mine.values()}))
        commits = tuple(sorted({_commit(line) for line in mine.values()}))
        every.append(Line(row, values, differences, len(mine), seconds, devices, commits, failures, metric))
    return every


def _commit(line: Mapping[str, Any]) -> str:
    """Return the commit that trained a line, and the commit that scored it if it differs."""
    return f"{line['commit']} (scored by {line['scored']})" if "scored" in line else line["commit"]


def disagreements(paper: Any, results: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """Return (rows whose mean is outside their tolerance around the paper's number, rows with such a number but no measurement).

    Each is a sentence.
    """
    away, missing = [], []
    for row in paper.ROWS:
        for metric, published in row.paper.items():
            values = [line["numbers"][metric] for line in results if line["row"] == row.name and metric in line["numbers"]]
            claim = f"{row.name}, {metric}: the paper has {published:.1f} ({row.citation})"
            if not values:
                missing.append(f"{claim}; not measured")
                continue
            ours = 100 * significance.interval(values)[0]
            if not abs(ours - published) <= row.tolerance:  # NaN also counts as outside
                ours_text = f"we have {ours:.1f} over {len(values)} of {paper.SEEDS} seeds"
                away.append(f"{claim}; {ours_text}, {abs(ours - published):.1f} away, where {row.tolerance:.1f} is tolerated")
    return away, missing
