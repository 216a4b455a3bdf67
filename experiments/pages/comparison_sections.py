"""Sections of a comparison: verdict, curves over labels, gains, classes, health, provenance."""

import math
from collections.abc import Mapping
from typing import Any

from . import charts
from .comparisons import ComparisonPage, by_labels, class_iou
from .elements import percent, scrolled, section
from .markup import Markup, joined, tag

MARKS = {"gains": "gain", "loses": "loss", "not shown": "unclear"}
"""CSS class of a verdict."""


def comparison(page: ComparisonPage, number: int) -> Markup:
    """Return the section of a comparison."""
    arms = page.arms
    rows = {arm: by_labels(page, arm) for arm in arms}
    series = [
        charts.Series(
            arm,
            [(labels, mean) for labels, mean, *_ in rows[arm]],
            colour,
            [(labels, max(0.0, low), min(1.0, high)) for labels, _, low, high, _ in rows[arm]],
            True,
        )
        for colour, arm in enumerate(arms)
    ]
    chart = charts.curves("Test mIoU, %, by labelled images", series, "labelled images", log=True, percent=True)
    seeds = len({run["seed"] for run in page.runs})
    note = (
        f"Mean over seeds ({seeds}); bands and lines: 95 % interval of the mean, cut at 0 and 100 %."
        if seeds > 1
        else "One seed has no interval."
    )
    return section(
        f"comparison{number}",
        page.name,
        tag("p", tag("code", page.path), class_="quiet"),
        _verdict(page),
        tag("h3", "By number of labels"),
        charts.legend(arms),
        tag("div", chart, class_="charts one"),
        tag("p", note, class_="quiet"),
        _gains(page),
        _classes(page),
        _health(page),
        _plan(page),
        _runs(page),
    )


def _verdict(page: ComparisonPage) -> Markup:
    verdict = page.verdict
    if not verdict:
        return tag("p", "There is no verdict yet: the comparison is not finished.", class_="note")
    commands = verdict.get("commands")
    commands = commands if isinstance(commands, Mapping) else {}
    listed = [("next", verdict.get("next", "")), *commands.items()]
    return tag(
        "div",
        tag("p", verdict.get("headline", ""), class_="headline"),
        [tag("p", sentence) for sentence in verdict.get("sentences", ())],
        [tag("p", warning, class_="note") for warning in verdict.get("warnings", ())],
        tag("dl", [joined(tag("dt", name), tag("dd", tag("code", command))) for name, command in listed if command], class_="commands"),
        class_="verdict",
    )


def _gains(page: ComparisonPage) -> Markup | None:
    arms = [arm for arm in page.verdict.get("arms", ()) if isinstance(arm, Mapping)]
    labels = list(page.verdict.get("labels", ()))
    if not arms:
        return None
    rows = []
    for arm in arms:
        each = {gain.get("labels"): gain for gain in arm.get("by_labels", ()) if isinstance(gain, Mapping)}
        cells = [_gain(each.get(count)) for count in labels]
        name = tag("th", arm.get("arm", ""), tag("small", f"against {arm.get('against') or 'scratch'}"), scope="row")
        minutes = arm.get("minutes")
        rows.append(
            tag(
                "tr",
                name,
                _gain(arm.get("overall")),
                *cells,
                _gain(arm.get("longer")),
                tag("td", f"{minutes:.1f}" if isinstance(minutes, int | float) else "–", class_="number"),
            )
        )
    heads = ["arm", "all", *(f"{count} label{'s' if count != 1 else ''}" for count in labels), "longer scratch", "minutes"]
    table = tag("table", tag("thead", tag("tr", *(tag("th", text, scope="col") for text in heads))), tag("tbody", *rows), class_="gains")
    note = (
        "Percentage points of test mIoU over scratch: mean paired difference, its 95 % interval over seeds, and p after Holm's correction "
        "over the arms. Green: gains. Red: loses. Grey: no difference is shown with these seeds."
    )
    return joined(tag("h3", "Gain over scratch"), scrolled(table), tag("p", note, class_="quiet"))


def _gain(one: Any) -> Markup:
    if not isinstance(one, Mapping) or not isinstance(one.get("gain"), int | float):
        return tag("td", "–", class_="number")
    low, high, p = one.get("low"), one.get("high"), one.get("holm", one.get("p"))
    between = f"{100 * low:+.1f} to {100 * high:+.1f}" if isinstance(low, int | float) and isinstance(high, int | float) else "one seed"
    tested = f", p {p:.3f}" if isinstance(p, int | float) else ""
    worth = one.get("worth")
    more = (
        tag("small", f"as good as scratch with {worth['labels']} more labels ({worth['low']} to {worth['high']})")
        if _is_worth(worth)
        else None
    )
    title = (
        f"smallest difference that these seeds can show: {100 * one['smallest']:.1f}"
        if isinstance(one.get("smallest"), int | float)
        else None
    )
    return tag(
        "td",
        tag("b", f"{100 * one['gain']:+.1f}"),
        tag("small", f"{between}{tested}"),
        more,
        class_=f"number {MARKS.get(one.get('verdict', ''), '')}",
        title=title,
    )


def _is_worth(value: Any) -> bool:
    return isinstance(value, Mapping) and {"labels", "low", "high"} <= set(value)


def _classes(page: ComparisonPage) -> Markup | None:
    labels = max((int(run["labels"]) for run in page.runs), default=0)
    by_arm = {arm: class_iou(page, arm, labels) for arm in page.arms}
    names = list(dict.fromkeys(name for each in by_arm.values() for name in each))
    if not names:
        return None
    rows = []
    for arm, each in by_arm.items():
        cells = []
        for name in names:
            best = max((other.get(name, -math.inf) for other in by_arm.values()), default=-math.inf)
            cells.append(tag("td", percent(each.get(name)), class_="number best" if each.get(name) == best else "number"))
        rows.append(tag("tr", tag("th", arm, scope="row"), *cells))
    head = tag("tr", tag("th", "arm"), *(tag("th", name, scope="col") for name in names))
    return joined(
        tag("h3", f"IoU of each class with {labels} labelled images, %"), scrolled(tag("table", tag("thead", head), tag("tbody", *rows)))
    )


def _health(page: ComparisonPage) -> Markup | None:
    charted = []
    for key, title in (
        ("probe", "Linear probe of the encoder during pretraining, mIoU, %"),
        ("rank", "Effective rank of its features"),
        ("loss", "Pretraining loss"),
    ):
        lines: dict[str, list[tuple[float, float]]] = {}
        for row in page.health:
            if isinstance(row.get(key), int | float) and isinstance(row.get("step"), int | float):
                lines.setdefault(str(row.get("arm", "")), []).append((float(row["step"]), float(row[key])))
        colours = charts.numbered(page.arms)
        series = [charts.Series(arm, sorted(points), colours.get(arm, number)) for number, (arm, points) in enumerate(lines.items())]
        if series:
            charted.append(charts.curves(title, series, "step", percent=key == "probe"))
    return joined(tag("h3", "Health of the pretraining"), tag("div", *charted, class_="charts")) if charted else None


def _plan(page: ComparisonPage) -> Markup | None:
    if not page.plan:
        return None
    rows = [tag("tr", tag("th", str(name), scope="row"), tag("td", _text(value))) for name, value in page.plan.items()]
    return tag("details", tag("summary", "Plan"), scrolled(tag("table", tag("tbody", *rows), class_="settings")))


def _runs(page: ComparisonPage) -> Markup:
    heads = ("arm", "labels", "seed", "mIoU, %", "steps", "learning rate", "seconds", "device", "commit")
    rows = []
    for one in page.runs:
        seconds = one.get("seconds")
        cells = (
            one["arm"],
            one["labels"],
            one["seed"],
            percent(one["metrics"]["miou"]),
            one.get("steps", ""),
            one.get("learning_rate", ""),
            f"{seconds:.0f}" if isinstance(seconds, int | float) else "",
            one.get("device", ""),
            one.get("commit", ""),
        )
        rows.append(tag("tr", *(tag("td", cell) for cell in cells)))
    table = tag("table", tag("thead", tag("tr", *(tag("th", text, scope="col") for text in heads))), tag("tbody", *rows))
    return tag("details", tag("summary", f"Runs and provenance ({len(rows)})"), scrolled(table))


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "; ".join(map(_text, value))
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_text(each)}" for name, each in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
