"""SVG charts in the page's colours: curves over steps or labels, and reliability diagrams."""

import itertools
import json
import math
from collections.abc import Sequence
from typing import NamedTuple

from .markup import Markup, joined, tag

WIDTH, HEIGHT = 440, 264
LEFT, RIGHT, TOP, BOTTOM = 58, 24, 12, 38
POINTS = 240
"""Largest number of points drawn per curve."""
COLOURS = 8
"""Number of series colours in the style sheet."""


class Series(NamedTuple):
    """A curve: points (x, y) in order of x, and a band of (x, low, high); `colour` is the number of a colour in the style sheet."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int
    band: Sequence[tuple[float, float, float]] = ()
    marks: bool = False


def curves(title: str, series: Sequence[Series], across: str, log: bool = False, percent: bool = False) -> Markup:
    """Return a chart of curves with a title; "" if no curve has a finite point."""
    drawn = [one._replace(points=thinned([point for point in one.points if all(map(math.isfinite, point))])) for one in series]
    drawn = [one for one in drawn if one.points]
    if not drawn:
        return Markup("")
    factor = 100 if percent else 1
    ys = [factor * y for one in drawn for _, y in one.points] + [factor * end for one in drawn for _, *ends in one.band for end in ends]
    xs = [x for one in drawn for x, _ in one.points]
    x_ticks, y_ticks = _log_ticks(xs) if log else ticks(min(xs), max(xs), 5), ticks(min(ys), max(ys), 5)
    if percent:
        y_ticks = [mark for mark in y_ticks if 0 <= mark <= 100 or not 0 <= min(ys) <= max(ys) <= 100]
    x_of, y_of = _scale(x_ticks, LEFT, WIDTH - RIGHT, log), _scale(y_ticks, HEIGHT - BOTTOM, TOP)
    parts = [_axes(x_ticks, y_ticks, x_of, y_of, across)]
    readout = []
    single = all(len(one.points) == 1 for one in drawn)
    for number, one in enumerate(drawn):
        aside = 18 * (number - (len(drawn) - 1) / 2) if single else 0.0  # draw single points side by side
        positions = [(x_of(x) + aside, y_of(factor * y)) for x, y in one.points]
        if single:
            parts += [
                tag(
                    "line",
                    x1=_short(x),
                    x2=_short(x),
                    y1=_short(y_of(factor * low)),
                    y2=_short(y_of(factor * high)),
                    class_=_colour("curve", one),
                )
                for (x, _), (_, low, high) in zip(positions, one.band, strict=False)
            ]
        elif one.band:
            edge = [(x_of(x), y_of(factor * high)) for x, _, high in one.band] + [
                (x_of(x), y_of(factor * low)) for x, low, _ in reversed(one.band)
            ]
            parts.append(tag("polygon", points=_points(edge), class_=_colour("band", one)))
        parts.append(tag("polyline", points=_points(positions), class_=_colour("curve", one)))
        if one.marks or len(positions) == 1:
            parts += [tag("circle", cx=_short(x), cy=_short(y), r=3, class_=_colour("mark", one)) for x, y in positions]
        values = [[round(px, 1), round(py, 1), label(x), label(factor * y)] for (px, py), (x, y) in zip(positions, one.points, strict=True)]
        readout.append({"name": one.name, "colour": one.colour % COLOURS, "points": values})
    parts.append(tag("line", class_="cursor", y1=TOP, y2=HEIGHT - BOTTOM, x1=-9, x2=-9))
    described = f"{title}: {', '.join(one.name for one in drawn)}"
    svg = tag("svg", *parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=described)
    return tag(
        "figure", tag("figcaption", title), svg, tag("div", class_="readout"), class_="chart", data_series=json.dumps(readout), tabindex=0
    )


def legend(names: Sequence[str]) -> Markup:
    """Return the names of series with their colours, in order."""
    items = [
        tag("li", tag("span", class_=f"swatch series{number % COLOURS}", aria_hidden="true"), name) for number, name in enumerate(names)
    ]
    return tag("ul", *items, class_="legend")


def reliability(bins: Sequence[tuple[float, float, int]]) -> Markup:
    """Return the reliability diagram (Guo et al. 2017, figure 1) of bins (confidence, accuracy, pixels)."""
    size = HEIGHT - TOP - BOTTOM
    right = LEFT + size

    def x_of(value: float) -> float:
        return LEFT + value * size

    def y_of(value: float) -> float:
        return HEIGHT - BOTTOM - value * size

    marks = [0.0, 0.25, 0.5, 0.75, 1.0]
    lines = [
        joined(
            tag("line", x1=LEFT, x2=right, y1=_short(y_of(mark)), y2=_short(y_of(mark)), class_="grid"),
            tag("text", f"{100 * mark:.0f}", x=LEFT - 6, y=_short(y_of(mark) + 4), class_="tick end"),
            tag("text", f"{100 * mark:.0f}", x=_short(x_of(mark)), y=HEIGHT - BOTTOM + 16, class_="tick middle"),
        )
        for mark in marks
    ]
    diagonal = tag("line", x1=x_of(0), y1=y_of(0), x2=x_of(1), y2=y_of(1), class_="diagonal")
    most = max((pixels for *_, pixels in bins), default=1)
    positions = [(x_of(confidence), y_of(accuracy)) for confidence, accuracy, _ in bins]
    curve = tag("polyline", points=_points(positions), class_="curve series0")
    dots = [
        tag(
            "circle",
            tag("title", f"confidence {100 * confidence:.1f} %, right {100 * accuracy:.1f} %, {pixels:,} pixels"),
            cx=_short(x),
            cy=_short(y),
            r=_short(2.5 + 5 * math.sqrt(pixels / most)),
            class_="mark series0",
        )
        for (x, y), (confidence, accuracy, pixels) in zip(positions, bins, strict=True)
    ]
    axis = tag("text", "confidence, %", x=_short(x_of(0.5)), y=HEIGHT - 5, class_="tick middle")
    svg = tag(
        "svg",
        *lines,
        diagonal,
        curve,
        *dots,
        axis,
        viewBox=f"0 0 {right + RIGHT + 8} {HEIGHT}",
        role="img",
        aria_label="reliability diagram",
    )
    return tag("figure", tag("figcaption", "Right pixels, %, by confidence"), svg, class_="chart square")


def thinned(points: Sequence[tuple[float, float]], most: int = POINTS) -> list[tuple[float, float]]:
    """Return at most `most` points, evenly spaced, including the first and the last."""
    if len(points) <= most:
        return list(points)
    return [points[round(index * (len(points) - 1) / (most - 1))] for index in range(most)]


def ticks(low: float, high: float, count: int) -> list[float]:
    """Return about `count` round numbers from at most `low` to at least `high`; steps are 1, 2 or 5 times a power of ten.

    >>> ticks(0.13, 0.87, 5)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if high <= low:
        low, high = low - (abs(low) or 1) / 20, high + (abs(high) or 1) / 20
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def label(value: float) -> str:
    """Format a number for an axis or a readout: four significant digits, with thousands separators.

    >>> label(1000.0), label(0.000123456), label(88.5612)
    ('1,000', '0.0001235', '88.56')
    """
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}"


def _log_ticks(values: Sequence[float]) -> list[float]:
    """Return the values as ticks, if there are at most eight (label counts), else about every second value."""
    own = sorted(set(values))
    return own if len(own) <= 8 else [own[0], *own[2:-1:2], own[-1]]


def _scale(marks: Sequence[float], start: float, end: float, log: bool = False):  # type: ignore[no-untyped-def]
    low, high = (math.log(max(mark, 1e-9)) if log else mark for mark in (marks[0], marks[-1]))
    if high <= low:
        return lambda value: (start + end) / 2
    return lambda value: start + (end - start) * ((math.log(max(value, 1e-9)) if log else value) - low) / (high - low)


def _axes(x_ticks, y_ticks, x_of, y_of, across: str) -> Markup:  # type: ignore[no-untyped-def]
    rows = [
        joined(
            tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=_short(y_of(mark)), y2=_short(y_of(mark)), class_="grid"),
            tag("text", label(mark), x=LEFT - 6, y=_short(y_of(mark) + 4), class_="tick end"),
        )
        for mark in y_ticks
    ]
    last = -math.inf
    columns = []
    for mark in x_ticks:
        x = x_of(mark)
        if x - last >= 34:  # otherwise the numbers would overlap
            columns.append(tag("text", label(mark), x=_short(x), y=HEIGHT - BOTTOM + 16, class_="tick middle"))
            last = x
    return joined(rows, columns, tag("text", across, x=WIDTH - RIGHT, y=HEIGHT - 5, class_="tick end"))


def _colour(kind: str, one: Series) -> str:
    return f"{kind} series{one.colour % COLOURS}"


def _points(positions: Sequence[tuple[float, float]]) -> str:
    return " ".join(",".join(map(_short, position)) for position in positions)


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def numbered(names: Sequence[str]) -> dict[str, int]:
    """Number the names in order of first occurrence."""
    return dict(zip(dict.fromkeys(names), itertools.count()))
