"""Figure of a table: curves over the label fraction if rows differ in it, else bars, both with intervals.

Needs the extra `plot`.
"""

import itertools
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from aeseg import files
from aeseg.types import UserError

from ..console import cli
from ..recorded.rows import Row
from . import summary
from .significance import interval

HOLLOW = {"marker": "D", "linestyle": "none", "markerfacecolor": "none", "markersize": 8}
"""Style of a paper's numbers."""


def write(path: str, paper: Any, results: Sequence[Mapping[str, Any]], images: int = 0) -> None:
    """Draw the table into a file; its ending gives the format: .png, .svg, .pdf (see `draw`)."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("A plot needs matplotlib, which is not installed. Install it: pip install -e '.[plot]'.") from None
    figure = Figure(figsize=(7, 4), dpi=150, layout="constrained")
    if not path.endswith(tuple(f".{kind}" for kind in figure.canvas.get_supported_filetypes())):
        raise UserError(f"Expected a path that ends in .png, .svg or .pdf; got {path!r}. Set --plot.")
    draw(figure, paper, results, images)
    with files.replacing(path) as temporary:
        figure.savefig(temporary, format=path.rpartition(".")[2])


def draw(figure: Any, paper: Any, results: Sequence[Mapping[str, Any]], images: int = 0) -> None:
    """Draw the mean of the table's first metric, with its 95 % interval and the paper's number if there are any.

    `images` is the number of labelled images of fraction 1. If it is given, or if the rows' names count their labels (`8 labels`), the
    axis counts images instead of showing fractions.
    """
    metric, *_ = summary.metrics(paper, results)
    lines = {line.row.name: line for line in summary.lines(paper, results, {}) if line.values[metric]}
    if not lines:
        raise UserError(f"Nothing of {paper.TITLE!r} has been measured. Train it with --run, then draw it.")
    label = f"{metric.replace('_', ' ')}, {summary.unit(metric).name}"
    if shares := curves([line.row for line in lines.values()]):
        _over_labels(figure, shares, lines, metric, label, images or _all_images(shares))
    else:
        _bars(figure, lines, metric, label)
    said = (paper.TITLE, _seeds([line.values[metric] for line in lines.values()]))
    letters = round(11.5 * figure.get_figwidth())
    figure.suptitle("\n".join(textwrap.fill(each, letters) for each in said), fontsize="medium")


def curves(rows: Sequence[Row]) -> dict[str, dict[float, str]]:
    """Return {common words: {fraction: name}} of rows that differ only in data.fraction; {} if there are none."""
    groups: dict[str, dict[float, str]] = {}
    for row in rows:
        rest = {name: value for name, value in row.overrides.items() if name != "data.fraction"}
        share = row.overrides.get("data.fraction") or cli.load_config(row.config).data.fraction
        groups.setdefault(repr((row.command, row.config, row.init, rest)), {})[float(share)] = row.name
    if all(len(points) == 1 for points in groups.values()):
        return {}
    return {_shared_words(list(points.values())): dict(sorted(points.items())) for points in groups.values()}


def _all_images(shares: Mapping[str, Mapping[float, str]]) -> int:
    """Return the number of images of fraction 1, if every name counts its labels and all agree; else 0."""
    named = [(share, re.search(r"\b([\d,]+) labels?\b", name)) for points in shares.values() for share, name in points.items()]
    numbers = {round(int(match[1].replace(",", "")) / share) if match else 0 for share, match in named}
    return numbers.pop() if len(numbers) == 1 else 0


def _shared_words(names: Sequence[str]) -> str:
    """Return the common words of names: `denoising` for `denoising, 100 %` and `denoising, 10 %`."""
    first, *others = [name.split(", ") for name in names]
    return ", ".join(part for part in first if all(part in other for other in others))


def _over_labels(
    figure: Any, shares: Mapping[str, Mapping[float, str]], lines: Mapping[str, summary.Line], metric: str, label: str, images: int
) -> None:
    """Draw means with intervals as bands and, if rows are compared, the differences seed by seed beside them."""
    curves = {name: {round(images * share) if images else share: row for share, row in points.items()} for name, points in shares.items()}
    compared = [name for name, points in curves.items() if all(lines[row].differences for row in points.values())]
    width = 11 if compared else 7
    fitting = max(1, int(width / (0.6 + 0.085 * max(map(len, curves)))))
    rows = math.ceil(len(curves) / fitting)  # of the legend, which is below
    figure.set_size_inches(width, 4.2 + 0.22 * rows)
    axes, *beside = figure.subplots(1, 2 if compared else 1, squeeze=False)[0]
    ticks = sorted({labels for points in curves.values() for labels in points})
    colours = {name: f"C{index}" for index, name in enumerate(curves)}
    for name, points in curves.items():
        means, halves = _means([lines[row].values[metric] for row in points.values()], metric)
        axes.plot(list(points), means, marker="o", label=name, color=colours[name])
        low, high = ([mean + sign * half for mean, half in zip(means, halves, strict=True)] for sign in (-1, 1))
        axes.fill_between(list(points), low, high, color=colours[name], alpha=0.15, linewidth=0)
        papers = ((labels, lines[row].row.paper) for labels, row in points.items())
        published = [(labels, numbers[metric]) for labels, numbers in papers if metric in numbers]
        axes.plot([labels for labels, _ in published], [number for _, number in published], color=colours[name], **HOLLOW)
    for differs in beside:
        for name, aside in _asides(compared, ticks).items():
            means, halves = _means([lines[row].differences for row in curves[name].values()], metric)
            differs.errorbar([labels * aside for labels in curves[name]], means, halves, fmt="o", capsize=3, color=colours[name])
        differs.axhline(0, color="grey", linewidth=1)
        to = sorted({lines[row].row.compare.split(", ")[0] for name in compared for row in curves[name].values()})
        differs.set_ylabel(textwrap.fill(f"difference to {', '.join(to)}, seed by seed, points", 44))
    if any(metric in lines[row].row.paper for points in curves.values() for row in points.values()):
        axes.plot([], [], label="paper", color="black", **HOLLOW)
    axes.set_ylabel(label)
    for each in (axes, *beside):
        each.set_xscale("log")
        each.set_xticks(ticks, [f"{tick:,}" if images else f"{100 * tick:.3g} %" for tick in ticks], minor=False)
        each.minorticks_off()
        each.set_xlabel("labelled images" if images else "share of the labelled images")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=math.ceil(len(curves) / rows))


def _asides(names: Sequence[str], ticks: Sequence[float]) -> dict[str, float]:
    """Return a factor for each name's position so that intervals do not overlap: steps of up to 6 %, within half of the smallest gap."""
    gap = min(above / below for below, above in itertools.pairwise(ticks))
    step = min(1.06, gap ** (0.5 / max(1, len(names) - 1)))
    return {name: step ** (position - (len(names) - 1) / 2) for position, name in enumerate(names)}


def _means(values: Sequence[Sequence[float]], metric: str) -> tuple[list[float], list[float]]:
    """Return (means, halves of the 95 % intervals) over seeds in the metric's unit; for one seed the half is NaN, which is not drawn."""
    means, halves = zip(*(interval(each) for each in values), strict=True)
    factor = summary.unit(metric).factor
    return [factor * mean for mean in means], [factor * half for half in halves]


def _seeds(values: Sequence[Sequence[float]]) -> str:
    """Describe the intervals and the numbers of seeds; a row with one seed has no interval."""
    numbers = sorted({len(each) for each in values})
    several = [number for number in numbers if number > 1]
    if not several:
        return "one seed, no intervals"
    over = f"{several[0]} to {several[-1]}" if len(several) > 1 else str(several[0])
    return f"95 % intervals of the mean over {over} seeds" + (", none of one seed" if numbers[0] == 1 else "")


def _bars(figure: Any, lines: Mapping[str, summary.Line], metric: str, label: str) -> None:
    """Draw a bar with an interval for each row, in the table's order downwards; the common end of all names is left out."""
    figure.set_figheight(max(4, 1 + 0.28 * len(lines)))
    axes = figure.add_subplot()
    means, halves = _means([line.values[metric] for line in lines.values()], metric)
    common = set.intersection(*(set(name.split(", ")[1:]) for name in lines)) if len(lines) > 1 else set()
    positions = range(len(lines))
    axes.barh(positions, means, xerr=halves, capsize=3)
    axes.set_yticks(positions, [", ".join(part for part in name.split(", ") if part not in common) for name in lines])
    published = [
        (line.row.paper[metric], height) for height, line in zip(positions, lines.values(), strict=True) if metric in line.row.paper
    ]
    if published:
        axes.plot(*zip(*published, strict=True), label="paper", color="black", **HOLLOW)
        figure.legend(loc="outside lower center")
    axes.invert_yaxis()
    axes.set_xlabel(label)
