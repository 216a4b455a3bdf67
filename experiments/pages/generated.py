"""Section of a run's page: the images that `generate` drew from it, in its default folder."""

import os
from collections.abc import Mapping
from typing import Any

from aeseg import files

from . import pictures
from .elements import percent, scrolled
from .markup import Markup, tag

FOLDER = "generated"
TITLES = {
    "samples.png": "Samples",
    "interpolations.png": "Between two held-out images",
    "nearest.png": "Samples beside their nearest training images",
}
PICTURE_BYTES = 2 * 2**20
"""Largest size of a picture of the page."""


def generated(path: str) -> Markup | None:
    """Return the pictures and numbers of a workdir's `generated` folder; None if it has none."""
    folder = os.path.join(path, FOLDER)
    entry = files.json_object(os.path.join(folder, "generated.json"))
    if not {"frechet", "nearest"} <= entry.keys():
        return None
    shown = [
        tag("figure", tag("img", src=pictures.file(file), alt=title, loading="lazy"), tag("figcaption", title), class_="picture")
        for file, title in ((os.path.join(folder, name), title) for name, title in TITLES.items())
        if os.path.isfile(file) and os.path.getsize(file) <= PICTURE_BYTES
    ]
    summary = tag("summary", f"{entry.get('number')} generated images")
    return tag("details", summary, _table(entry), *shown, open=True)


def _table(entry: Mapping[str, Any]) -> Markup:
    frechet, nearest = entry["frechet"], entry["nearest"]
    title = f"Fréchet distance to half of {entry.get('split')}, {frechet['images']} images, features of {entry.get('features')}"
    rows = [(title, f"{frechet['samples']:.4g}", f"{frechet['floor']:.4g}")]
    for measure, one in nearest.items():
        rows.append((f"nearest training image by {measure}, median", f"{one['samples']:.4g}", f"{one['held_out']:.4g}"))
        rows.append((f"nearer by {measure} than 5 % of held-out images, %", percent(one["closer"]), "5.0"))
    head = tag("tr", tag("th", ""), tag("th", "samples", scope="col"), tag("th", "held-out", scope="col"))
    body = [tag("tr", tag("th", title, scope="row"), *(tag("td", value, class_="number") for value in values)) for title, *values in rows]
    return scrolled(tag("table", tag("thead", head), tag("tbody", *body)))
