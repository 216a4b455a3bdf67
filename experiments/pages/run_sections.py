"""The sections of runs: numbers, curves, classes, confusion, calibration, pictures, settings."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from aeseg import tree

from . import charts, pictures
from .markup import Markup, joined, tag
from .runs import Judged, Restored, RunPage, Segmented

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
"""Curves by their name in metrics.jsonl, in the order of the page; the others follow, folded."""
TILES = {
    "mean_iou": "mIoU",
    "pixel_accuracy": "pixel accuracy",
    "mean_dice": "Dice",
    "expected_calibration_error": "calibration error",
    "psnr": "PSNR",
    "ssim": "SSIM",
    "loss": "loss",
}


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage without its sign; a dash for none."""
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f}"


def overlaid(pages: Sequence[RunPage]) -> Markup:
    """Return the curves of all runs in one set of charts; "" if no run has any."""
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
    """Return a table of the runs' scores beside the settings in which they differ."""
    flat = [{name: _spelled(value) for name, value in tree.flatten(page.config).items()} for page in pages]
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


def _table(header: Markup, rows: Sequence[Markup]) -> Markup:
    return scrolled(tag("table", tag("thead", header), tag("tbody", *rows)))


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
    parts += [_evaluations(page), settings(page), _origin(page)]
    return section(name, page.name, *parts)


def section(name: str, title: str, *children: Any) -> Markup:
    """Return a section of the page that the navigation names."""
    return tag("section", tag("h2", title), *children, id=name)


def scrolled(table: Markup) -> Markup:
    """Return a table that scrolls by itself where the page is narrow."""
    return tag("div", table, class_="scroll", tabindex=0)


def gallery(judged: Judged) -> Markup:
    """Return the cards with what sorts and filters them."""
    cards = [card(one, judged) if isinstance(one, Segmented) else _restored(one) for one in judged.cards]
    segments = bool(judged.classes)
    names = [item.name for item in judged.classes]
    options = [tag("option", name, value=index) for index, name in enumerate(names)]
    orders = (("worst", "worst first"), ("best", "best first"), ("name", "by name"))
    controls = [
        tag("label", "sort ", tag("select", *(tag("option", text, value=value) for value, text in orders), class_="sort")),
        tag("label", "class ", tag("select", tag("option", "all", value=""), *options, class_="filter")) if segments else None,
        tag("label", "name ", tag("input", type="search", class_="search", placeholder="part of a name", size=12)),
    ]
    if segments:
        shows = (("0", "image"), ("1", "truth"), ("2", "prediction"))
        controls += [
            tag(
                "span",
                *(tag("button", text, type="button", data_all=value) for value, text in shows),
                class_="buttons",
                role="group",
                aria_label="show on all",
            ),
            tag("label", tag("input", type="checkbox", class_="errors-shown"), " errors"),
            tag("label", "strength ", tag("input", type="range", class_="strength", min=0.2, max=1, step=0.05, value=0.6)),
        ]
    least = f"{len(cards)} of {judged.images} images" if len(cards) < judged.images else f"{len(cards)} images"
    told = f"{least}{', the worst of all and of each class' if len(cards) < judged.images and segments else ''}"
    keys = "Keys: 1 image, 2 truth, 3 prediction, e errors, j and k next and previous." if segments else "Keys: j and k next and previous."
    colours = pictures.shown_colours(judged.classes)
    key = [
        tag("li", tag("span", class_="swatch", style=f"background:rgb{colour}" if colour else None), name, "" if colour else " (the image)")
        for name, colour in zip(names, colours, strict=True)
    ]
    return tag(
        "div",
        tag("h3", "Images, worst first"),
        tag("p", tag("span", told, class_="count", data_of=least), ". ", tag("span", keys, class_="keys"), class_="quiet"),
        tag("ul", *key, class_="legend") if segments else None,
        tag("div", *controls, class_="controls", role="toolbar", aria_label="sort and filter images"),
        tag("div", *cards, class_="cards"),
        tag("p", "No image fits.", class_="empty", hidden=True),
        tag("button", "show all", type="button", class_="more", hidden=True),
        class_="gallery",
    )


def card(one: Segmented, judged: Judged) -> Markup:
    """Return an image, its label and its prediction below one slider."""
    layers = one.layers
    told = [f"{item.name} {percent(iou)}" for item, iou in zip(judged.classes, one.iou, strict=True) if iou is not None]
    stops = (("0", "image"), ("1", "truth"), ("2", "prediction"))
    stack = tag(
        "div",
        tag("img", src=layers.image, alt=f"image {one.name}", loading="lazy", decoding="async"),
        tag("img", src=layers.truth, alt="", class_="truth", loading="lazy"),
        tag("img", src=layers.prediction, alt="", class_="prediction", loading="lazy"),
        tag("img", src=layers.errors, alt="", class_="errors", loading="lazy"),
        tag("span", class_="seam", aria_hidden="true"),
        class_="stack small" if max(layers.height, layers.width) < 200 else "stack",
        style=f"aspect-ratio:{layers.width}/{layers.height}",
    )
    slider = tag(
        "input", type="range", min=0, max=2, step=0.01, value=2, class_="slider", aria_label=f"image, truth, prediction of {one.name}"
    )
    return tag(
        "figure",
        stack,
        slider,
        tag("div", *(tag("button", text, type="button", data_to=value, tabindex=-1) for value, text in stops), class_="stops"),
        tag(
            "figcaption",
            tag("b", percent(one.score)),
            tag("span", one.name, class_="name", title=one.name),
            tag("small", " · ".join(told[:6])),
        ),
        class_="card",
        data_score=_number(one.score),
        data_name=one.name,
        data_iou=json.dumps([None if iou is None else round(iou, 4) for iou in one.iou]),
    )


def settings(page: RunPage) -> Markup:
    """Return the run's config, folded."""
    flat = {name: _spelled(value) for name, value in tree.flatten(page.config).items()}
    rows = [tag("tr", tag("th", tag("code", name.replace("/", ".")), scope="row"), tag("td", value)) for name, value in flat.items()]
    return tag("details", tag("summary", f"Settings ({len(rows)})"), scrolled(tag("table", tag("tbody", *rows), class_="settings")))


def _restored(one: Restored) -> Markup:
    columns = [
        tag("div", tag("img", src=source, alt=f"{title} of {one.name}", loading="lazy"), tag("small", title))
        for title, source in one.columns.items()
    ]
    score = f"{one.score:.1f} dB" if math.isfinite(one.score) else "–"
    return tag(
        "figure",
        tag("div", *columns, class_="columns"),
        tag("figcaption", tag("b", score), tag("span", one.name, class_="name", title=one.name)),
        class_="card wide",
        data_score=_number(one.score),
        data_name=one.name,
        tabindex=0,
    )


def _tiles(judged: Judged) -> Markup:
    tiles = []
    for name, text in TILES.items():
        value = judged.scores.get(name)
        if not isinstance(value, int | float):
            continue
        share = bool(judged.classes) and name != "loss"
        shown = f"{100 * value:.1f}" if share else f"{value:.3g}"
        unit = " %" if share else " dB" if name == "psnr" else ""
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
            share = pixels / total if total else 0.0
            told = f"{name} predicted as {other}: {100 * share:.2f} % ({pixels:,} pixels)"
            text = "" if many else f"{100 * share:.1f}" if total else "–"
            cells.append(tag("td", text, style=f"--share:{100 * share**0.5:.0f}%", class_="right" if name == other else None, title=told))
        rows.append(tag("tr", tag("th", name, scope="row"), *cells))
    head = tag("tr", tag("th", "truth \\ prediction"), *(tag("th", tag("span", name), scope="col") for name in names))
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="confusion many" if many else "confusion")
    return tag("div", tag("h3", "Confusion, % of each class's pixels"), scrolled(table))


def _calibration(judged: Judged) -> Markup:
    error = judged.scores.get("expected_calibration_error")
    note = f"Expected calibration error {percent(error, 2)} %: on the diagonal, the network is right as often as it says."
    return tag("div", tag("h3", "Calibration"), charts.reliability(judged.bins), tag("p", note, class_="quiet"))


def _evaluations(page: RunPage) -> Markup | None:
    if not page.evaluations:
        return None
    heads = ("split", "step", "mIoU, %", "PSNR", "images", "windows and views", "date")
    rows = []
    for entry in page.evaluations[-50:]:
        how = ", ".join(f"{name} {_spelled(value)}" for key in ("windows", "views") for name, value in _mapping(entry.get(key)).items())
        iou, psnr = entry.get("mean_iou"), entry.get("psnr")
        cells = (
            entry.get("split", ""),
            entry.get("step", ""),
            percent(iou) if isinstance(iou, float) else "",
            f"{psnr:.2f}" if isinstance(psnr, float) else "",
            entry.get("images", ""),
            how,
            entry.get("date", ""),
        )
        rows.append(tag("tr", *(tag("td", cell) for cell in cells)))
    table = tag("table", tag("thead", tag("tr", *(tag("th", text, scope="col") for text in heads))), tag("tbody", *rows))
    return tag("details", tag("summary", f"Evaluations ({len(rows)})"), scrolled(table))


def _origin(page: RunPage) -> Markup | None:
    if not page.origin:
        return None
    rows = [tag("tr", tag("th", name, scope="row"), tag("td", _spelled(value))) for name, value in tree.flatten(page.origin).items()]
    return tag("details", tag("summary", "Provenance"), scrolled(tag("table", tag("tbody", *rows), class_="settings")))


def _score(page: RunPage, name: str) -> str:
    value = page.judged.scores.get(name) if page.judged else None
    if not isinstance(value, int | float):
        return "–"
    return percent(value) if page.segments and name != "loss" else f"{value:.4g}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else ""


def _spelled(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 400 else f"{text[:400]} …"
