"""Images of a run as cards that the reader sorts, filters and compares."""

import json
import math

from . import pictures
from .elements import percent
from .markup import Markup, tag
from .runs import Judged, Restored, Segmented


def gallery(judged: Judged) -> Markup:
    """Return the cards, with controls that sort and filter them."""
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
    caption = f"{least}{', the worst of all and of each class' if len(cards) < judged.images and segments else ''}"
    keys = "Keys: 1 image, 2 truth, 3 prediction, e errors, j and k next and previous." if segments else "Keys: j and k next and previous."
    colours = pictures.shown_colours(judged.classes)
    key = [
        tag("li", tag("span", class_="swatch", style=f"background:rgb{colour}" if colour else None), name, "" if colour else " (the image)")
        for name, colour in zip(names, colours, strict=True)
    ]
    return tag(
        "div",
        tag("h3", "Images, worst first"),
        tag("p", tag("span", caption, class_="count", data_of=least), ". ", tag("span", keys, class_="keys"), class_="quiet"),
        tag("ul", *key, class_="legend") if segments else None,
        tag("div", *controls, class_="controls", role="toolbar", aria_label="sort and filter images"),
        tag("div", *cards, class_="cards"),
        tag("p", "No image matches.", class_="empty", hidden=True),
        tag("button", "show all", type="button", class_="more", hidden=True),
        class_="gallery",
    )


def card(one: Segmented, judged: Judged) -> Markup:
    """Return the card of an image: image, label and prediction over each other, with a slider."""
    layers = one.layers
    ious = [f"{item.name} {percent(iou)}" for item, iou in zip(judged.classes, one.iou, strict=True) if iou is not None]
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
            tag("small", " · ".join(ious[:6])),
        ),
        class_="card",
        data_score=_number(one.score),
        data_name=one.name,
        data_iou=json.dumps([None if iou is None else round(iou, 4) for iou in one.iou]),
    )


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


def _number(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else ""
