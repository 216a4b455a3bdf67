"""A table as a figure: curves over the share of the labels where rows differ in it, else bars with intervals.  Needs the extra `plot`."""

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
    if not path.endswith(tuple(f".{kind}" for kind in figure.canvas.get_supported_filetypes())):
        raise UserError(f"Expected a path that ends in .png, .svg or .pdf; got {path!r}. Set --plot.")
    metric, *_ = summary.metrics(paper, found)
    lines = {line.row.name: line for line in summary.lines(paper, found, {}) if line.values[metric]}
    if not lines:
        raise UserError(f"Nothing of {paper.TITLE!r} has been measured. Train it with --run, then draw it.")
    shares = curves([line.row for line in lines.values()])
    label = f"{metric.replace('_', ' ')}, %"
    if shares:
        _over_shares(figure, shares, lines, metric, label)
    else:
        figure.set_figheight(max(4, 0.28 * len(lines)))
        axes = figure.add_subplot()
        axes.set_xlabel(label)
        _bars(axes, {name: line.values[metric] for name, line in lines.items()})
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


def _over_shares(
    figure: Any, shares: Mapping[str, Mapping[float, str]], lines: Mapping[str, summary.Line], metric: str, label: str
) -> None:
    """The means with their intervals as bands; where rows are compared, beside them the differences, seed by seed."""
    compared = [name for name, points in shares.items() if all(lines[row].differences for row in points.values())]
    if compared:
        figure.set_figwidth(11)
    axes, *beside = figure.subplots(1, 2 if compared else 1, squeeze=False)[0]
    colours = {name: f"C{place}" for place, name in enumerate(shares)}
    for name, points in shares.items():
        means, halves = _percents([lines[row].values[metric] for row in points.values()])
        axes.plot(list(points), means, marker="o", label=name, color=colours[name])
        low, high = ([mean + sign * half for mean, half in zip(means, halves, strict=True)] for sign in (-1, 1))
        axes.fill_between(list(points), low, high, color=colours[name], alpha=0.15, linewidth=0)
    axes.set_ylabel(label)
    axes.legend()
    for differs in beside:
        for place, name in enumerate(compared):
            means, halves = _percents([lines[row].differences for row in shares[name].values()])
            aside = [share * 1.06 ** (place - (len(compared) - 1) / 2) for share in shares[name]]  # so that none hides another
            differs.errorbar(aside, means, [0 if half != half else half for half in halves], fmt="o", capsize=3, color=colours[name])
        differs.axhline(0, color="grey", linewidth=1)
        to = sorted({lines[row].row.compare.split(", ")[0] for name in compared for row in shares[name].values()})
        differs.set_ylabel(f"difference to {', '.join(to)}, seed by seed, points")
    ticks = sorted({share for points in shares.values() for share in points})
    for each in (axes, *beside):
        each.set_xscale("log")
        each.set_xticks(ticks, [f"{100 * share:.3g} %" for share in ticks], minor=False)
        each.minorticks_off()
        each.set_xlabel("share of the labelled images")


def _percents(values: Sequence[Sequence[float]]) -> tuple[list[float], list[float]]:
    """(the means, half of the 95 % intervals) over seeds, in %."""
    means, halves = zip(*(interval(each) for each in values), strict=True)
    return [100 * mean for mean in means], [100 * half for half in halves]


def _bars(axes: Any, values: Mapping[str, Sequence[float]]) -> None:
    """A bar for each row, downwards in the table's order, with its interval; what all names end with is left out."""
    means, halves = _percents(list(values.values()))
    common = set.intersection(*(set(name.split(", ")[1:]) for name in values)) if len(values) > 1 else set()
    names = [", ".join(part for part in name.split(", ") if part not in common) for name in values]
    axes.barh(names, means, xerr=[0 if half != half else half for half in halves], capsize=3)
    axes.invert_yaxis()
