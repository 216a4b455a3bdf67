"""A table as a figure: bands over the share of the labels where rows differ in it, else bars with intervals.  Needs the extra `plot`."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from aeseg.types import UserError
from experiments import cli, summary
from experiments.papers import Row
from experiments.significance import interval


def write(path: str, paper: Any, found: Sequence[Mapping[str, Any]]) -> None:
    """Draw the mean and 95 % interval of the table's first metric into a file whose ending is its kind: .png, .svg, .pdf."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("A plot needs matplotlib, which is not installed. Install it: pip install -e '.[plot]'.") from None
    figure = Figure(figsize=(7, 4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    if not path.endswith(tuple(f".{kind}" for kind in figure.canvas.get_supported_filetypes())):
        raise UserError(f"Expected a path that ends in .png, .svg or .pdf; got {path!r}. Set --plot.")
    metric, *_ = summary.metrics(paper, found)
    lines = [line for line in summary.lines(paper, found, {}) if line.values[metric]]
    measured = {line.row.name: line.values[metric] for line in lines}
    if not measured:
        raise UserError(f"Nothing of {paper.TITLE!r} has been measured. Train it with --run, then draw it.")
    shares = curves([line.row for line in lines])
    if shares:
        for name, points in shares.items():
            _band(axes, name, {share: measured[row] for share, row in points.items()})
        axes.set_xscale("log")
        ticks = sorted({share for points in shares.values() for share in points})
        axes.set_xticks(ticks, [f"{100 * share:g} %" for share in ticks], minor=False)
        axes.minorticks_off()
        axes.set_xlabel("share of the labelled images")
        axes.legend()
    else:
        figure.set_figheight(max(4, 0.28 * len(measured)))
        _bars(axes, measured)
    (axes.set_ylabel if shares else axes.set_xlabel)(f"{metric.replace('_', ' ')}, %")
    figure.suptitle(textwrap.fill(paper.TITLE, 80), fontsize="medium")
    figure.savefig(path)


def curves(rows: Sequence[Row]) -> dict[str, dict[float, str]]:
    """The names of rows that differ in nothing but data.fraction, by share, under the words they have in common; {} where none are."""
    groups: dict[str, dict[float, str]] = {}
    for row in rows:
        rest = {name: value for name, value in row.overrides.items() if name != "data.fraction"}
        share = row.overrides.get("data.fraction") or cli.load_config(row.config).data.fraction
        groups.setdefault(repr((row.command, row.config, row.init, rest)), {})[float(share)] = row.name
    if all(len(points) == 1 for points in groups.values()):
        return {}
    return {_shared_words(list(points.values())): dict(sorted(points.items())) for points in groups.values()}


def _shared_words(names: Sequence[str]) -> str:
    """`denoising` of `denoising, 100 %` and `denoising, 10 %`."""
    first, *others = [name.split(", ") for name in names]
    return ", ".join(part for part in first if all(part in other for other in others))


def _band(axes: Any, name: str, points: Mapping[float, Sequence[float]]) -> None:
    """A line through the means, its intervals as a band."""
    means, halves = zip(*(interval(values) for values in points.values()), strict=True)
    (line,) = axes.plot(list(points), [100 * mean for mean in means], marker="o", label=name)
    low, high = ([100 * (mean + sign * half) for mean, half in zip(means, halves, strict=True)] for sign in (-1, 1))
    axes.fill_between(list(points), low, high, color=line.get_color(), alpha=0.15, linewidth=0)


def _bars(axes: Any, values: Mapping[str, Sequence[float]]) -> None:
    """A bar for each row, downwards in the table's order, with its interval; what all names end with is left out."""
    means, halves = zip(*(interval(each) for each in values.values()), strict=True)
    common = set.intersection(*(set(name.split(", ")[1:]) for name in values)) if len(values) > 1 else set()
    names = [", ".join(part for part in name.split(", ") if part not in common) for name in values]
    axes.barh(names, [100 * mean for mean in means], xerr=[0 if half != half else 100 * half for half in halves], capsize=3)
    axes.invert_yaxis()
