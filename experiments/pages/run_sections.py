"""Sections of runs: numbers, curves, classes, confusion, calibration, pictures, settings."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from aeseg import tree

from . import charts
from .elements import percent, scrolled, section, spelled
from .gallery import gallery
from .generated import generated
from .markup import Markup, joined, tag
from .restorations import restorations
from .runs import Judged, RunPage

CURVES = {
    "train/loss": "Training loss",
    "validation/loss": "Validation loss",
    "validation/mean_iou": "Validation mIoU, %",
    "validation/mean_dice": "Validation Dice, %",
    "validation/pixel_accuracy": "Validation pixel accuracy, %",
    "validation/psnr": "Validation PSNR, dB",
    "validation/ssim": "Validation SSIM",
    "train/accuracy": "Training pixel accuracy, %",
    "train/psnr": "Training PSNR, dB",
    "train/gradient_norm": "Gradient norm",
    "train/learning_rate": "Learning rate",
}
"""Titles of curves by name in metrics.jsonl, in the order of the page.  Other curves follow, folded."""
TILES = {
    "mean_iou": "mIoU",
    "pixel_accuracy": "pixel accuracy",
    "mean_dice": "Dice",
    "expected_calibration_error": "calibration error",
    "psnr": "PSNR",
    "ssim": "SSIM",
    "loss": "loss",
}


def overlaid(pages: Sequence[RunPage]) -> Markup:
    """Return one set of charts with the curves of all runs; "" if no run has curves."""
    names = [page.name for page in pages]
    listed = list(dict.fromkeys([*CURVES, *(name for page in pages for name in page.curves)]))
    drawn: dict[bool, list[Markup]] = {True: [], False: []}
    for name in listed:
        series = [charts.Series(names[number], page.curves[name], number) for number, page in enumerate(pages) if name in page.curves]
        title = CURVES.get(name, name.replace("/", ": ").replace("_", " "))
        if series:
            drawn[name in CURVES].append(charts.curves(title, series, "step", percent=title.endswith("%")))
    if not any(drawn.values()):
        return Markup("")
    more = (
        tag("details", tag("summary", f"{len(drawn[False])} further curves"), tag("div", *drawn[False], class_="charts"))
        if drawn[False]
        else None
    )
    return section("curves", "Curves", charts.legend(names), tag("div", *drawn[True], class_="charts"), more)


def compared(pages: Sequence[RunPage]) -> Markup:
    """Return a table of the runs' scores and of the settings in which they differ."""
    flat = [{name: spelled(value) for name, value in tree.flatten(page.config).items()} for page in pages]
    differing = [name for name in dict.fromkeys(key for one in flat for key in one) if len({one.get(name) for one in flat}) > 1]
    differing = [name for name in differing if not name.startswith(("given/", "next"))][:40]
    scores = [name for name in TILES if any(page.judged and name in page.judged.scores for page in pages)]
    header = tag("tr", tag("th", ""), *(tag("th", page.name, scope="col") for page in pages))
    rows = [
        tag("tr", tag("th", TILES[name], scope="row"), *(tag("td", _score(page, name), class_="number") for page in pages))
        for name in scores
    ]
    rows += [
        tag(
            "tr",
            tag("th", tag("code", name.replace("/", ".")), scope="row"),
            *(tag("td", one.get(name, "–"), class_="number") for one in flat),
        )
        for name in differing
    ]
    return section("runs", "Runs", scrolled(tag("table", tag("thead", header), tag("tbody", *rows))))


def run(page: RunPage, name: str) -> Markup:
    """Return the section of one run; `name` is its id."""
    kind = "segmentation" if page.segments else "autoencoder"
    judged = page.judged
    parts: list[Any] = [tag("p", f"{kind}, step {page.step:,}, ", tag("code", page.path), class_="quiet")]
    if judged:
        chosen = "" if judged.images == judged.of else f" ({judged.images} of {judged.of} images, evenly spread)"
        parts.append(tag("p", f"Split {judged.split}{chosen}", class_="quiet"))
        parts.append(_tiles(judged))
        if judged.classes:
            parts += [_classes(judged), tag("div", _confusion(judged), _calibration(judged), class_="pair")]
        parts.append(gallery(judged))
    if page.missing:
        parts.append(tag("p", "No pictures: ", page.missing, class_="note"))
    parts += [restorations(page.restorations), generated(page.path), _evaluations(page), settings(page), _origin(page)]
    return section(name, page.name, *parts)


def settings(page: RunPage) -> Markup:
    """Return the run's config, folded."""
    flat = {name: spelled(value) for name, value in tree.flatten(page.config).items()}
    rows = [tag("tr", tag("th", tag("code", name.replace("/", ".")), scope="row"), tag("td", value)) for name, value in flat.items()]
    return tag("details", tag("summary", f"Settings ({len(rows)})"), scrolled(tag("table", tag("tbody", *rows), class_="settings")))


def _tiles(judged: Judged) -> Markup:
    tiles = []
    for name, text in TILES.items():
        value = judged.scores.get(name)
        if not isinstance(value, int | float):
            continue
        is_fraction = bool(judged.classes) and name != "loss"
        shown = f"{100 * value:.1f}" if is_fraction else f"{value:.3g}"
        unit = " %" if is_fraction else " dB" if name == "psnr" else ""
        low, high = judged.mean_interval
        beside = f"{percent(low)} to {percent(high)}" if name == "mean_iou" and math.isfinite(low) else ""
        tiles.append(
            tag("div", tag("strong", shown, tag("i", unit)), tag("span", text), tag("small", beside) if beside else None, class_="tile")
        )
    tiles.append(tag("div", tag("strong", f"{judged.images:,}"), tag("span", "images"), class_="tile"))
    return tag("div", *tiles, class_="tiles")


def _classes(judged: Judged) -> Markup:
    total = max(1, judged.scores["pixels"])
    rows = []
    for entry, (low, high) in zip(judged.scores["per_class"], judged.intervals, strict=True):
        iou = entry["iou"]
        bar = None
        if iou is not None:
            whisker = (
                tag("i", class_="whisker", style=f"left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%") if math.isfinite(low) else None
            )
            bar = tag("div", tag("i", class_="fill", style=f"width:{100 * iou:.1f}%"), whisker, class_="bar")
        between = f"{percent(low)} to {percent(high)}" if math.isfinite(low) else "–"
        numbers = (percent(iou), between, percent(entry["dice"]), percent(entry["accuracy"]), percent(entry["pixels"] / total))
        rows.append(
            tag(
                "tr",
                tag("th", entry["name"], scope="row"),
                tag("td", bar, class_="bars"),
                *(tag("td", text, class_="number") for text in numbers),
            )
        )
    heads = ("class", "", "IoU, %", "95 % interval", "Dice, %", "accuracy, %", "pixels, %")
    table = tag("table", tag("thead", tag("tr", *(tag("th", text, scope="col") for text in heads))), tag("tbody", *rows))
    note = f"Intervals: bootstrap over the {judged.images} images." if judged.images > 1 else "One image has no interval."
    return joined(tag("h3", "Classes"), scrolled(table), tag("p", note, class_="quiet"))


def _confusion(judged: Judged) -> Markup:
    matrix, names = judged.scores["confusion"], [item.name for item in judged.classes]
    many = len(names) > 12
    rows = []
    for name, row in zip(names, matrix, strict=True):
        total = sum(row)
        cells = []
        for other, pixels in zip(names, row, strict=True):
            fraction = pixels / total if total else 0.0
            title = f"{name} predicted as {other}: {100 * fraction:.2f} % ({pixels:,} pixels)"
            text = "" if many else f"{100 * fraction:.1f}" if total else "–"
            cells.append(
                tag("td", text, style=f"--share:{100 * fraction**0.5:.0f}%", class_="right" if name == other else None, title=title)
            )
        rows.append(tag("tr", tag("th", name, scope="row"), *cells))
    head = tag("tr", tag("th", "truth \\ prediction"), *(tag("th", tag("span", name), scope="col") for name in names))
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="confusion many" if many else "confusion")
    return tag("div", tag("h3", "Confusion, % of each class's pixels"), scrolled(table))


def _calibration(judged: Judged) -> Markup:
    error = judged.scores.get("expected_calibration_error")
    note = f"Expected calibration error {percent(error, 2)} %. On the diagonal, accuracy equals confidence."
    return tag("div", tag("h3", "Calibration"), charts.reliability(judged.bins), tag("p", note, class_="quiet"))


def _evaluations(page: RunPage) -> Markup | None:
    if not page.evaluations:
        return None
    heads = ("split", "step", "mIoU, %", "PSNR", "images", "further numbers", "windows and views", "date")
    rows = []
    for entry in page.evaluations[-50:]:
        how = ", ".join(f"{name} {spelled(value)}" for key in ("windows", "views") for name, value in _mapping(entry.get(key)).items())
        iou, psnr = entry.get("mean_iou"), entry.get("psnr")
        cells = (
            entry.get("split", ""),
            entry.get("step", ""),
            percent(iou) if isinstance(iou, float) else "",
            f"{psnr:.2f}" if isinstance(psnr, float) else "",
            entry.get("images", ""),
            "" if "mean_iou" in entry else _further(entry),
            how,
            entry.get("date", ""),
        )
        rows.append(tag("tr", *(tag("td", cell) for cell in cells)))
    table = tag("table", tag("thead", tag("tr", *(tag("th", text, scope="col") for text in heads))), tag("tbody", *rows))
    return tag("details", tag("summary", f"Evaluations ({len(rows)})"), scrolled(table))


def _further(entry: Mapping[str, Any]) -> str:
    """Return the numbers of an autoencoder's evaluation that have no column."""
    numbers = {name: value for name, value in entry.items() if isinstance(value, float) and name not in ("psnr", "loss")}
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in numbers.items())


def _origin(page: RunPage) -> Markup | None:
    if not page.origin:
        return None
    rows = [tag("tr", tag("th", name, scope="row"), tag("td", spelled(value))) for name, value in tree.flatten(page.origin).items()]
    return tag("details", tag("summary", "Provenance"), scrolled(tag("table", tag("tbody", *rows), class_="settings")))


def _score(page: RunPage, name: str) -> str:
    value = page.judged.scores.get(name) if page.judged else None
    if not isinstance(value, int | float):
        return "–"
    return percent(value) if page.segments and name != "loss" else f"{value:.4g}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
