"""Section of a table of results (experiments/papers): rows, pictures and note."""

import os
import re
from typing import Any

from aeseg import spec
from aeseg.types import UserError

from .. import papers
from ..recorded import measurements
from ..study import formats, origins, primary, summary
from . import pictures
from .elements import scrolled, section
from .markup import Markup, joined, tag

PICTURE_BYTES = 1_500_000
"""Largest picture file that a page includes, in bytes."""


def is_table(name: str) -> bool:
    """Return whether `name` is a table."""
    return name in spec.names(papers.__name__)


def table(name: str, number: int) -> Markup:
    """Return the section of a table: the measured rows of each measured scale."""
    module = spec.module(papers.__name__, name)
    scales = dict.fromkeys(row.scale for row in module.ROWS)
    at_scales = [papers.at_scale(module, scale) for scale in scales]
    parts = [(paper.TITLE, rows) for paper in at_scales if (rows := _rows(name, paper))]
    if not parts:
        raise UserError(f"Nothing of {name} is measured yet. Run python -m experiments.tables {name} --run.")
    (title, first), *others = parts
    return section(f"table{number}", title, _pictures(name), first, [joined(tag("h3", other), rows) for other, rows in others])


def prose(text: str) -> Markup:
    """Return a paragraph with words between backticks as code.

    >>> prose("Set `--steps`.")
    '<p>Set <code>--steps</code>.</p>'
    """
    parts = re.split(r"`([^`]+)`", re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text))
    return tag("p", [tag("code", part) if index % 2 else part for index, part in enumerate(parts)])


def _rows(name: str, paper: Any) -> Markup | None:
    measured = measurements.current(name, paper)
    if not measured:
        return None
    lines = summary.lines(paper, measured, {})
    header, rows = formats.cells(summary.metrics(paper, measured), lines)
    head = tag("tr", *(tag("th", text, scope="col") for text in header))
    body = [tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell, class_="number") for cell in row[1:])) for row in rows]
    paper.ORIGINS = origins.paragraphs(paper, [line.row for line in lines])
    texts = [*primary.paragraphs(paper, measured), *formats.below(paper, lines), *getattr(paper, "NOTE", "").split("\n\n")]
    return joined(scrolled(tag("table", tag("thead", head), tag("tbody", *body))), [prose(text) for text in texts if text.strip()])


def _pictures(name: str) -> list[Markup]:
    folder = os.path.join(measurements.RESULTS, "pictures")
    titles = {f"{name}.png": "Means and their intervals", f"{name}.jpg": "Predictions", f"{name}_reconstructions.jpg": "Reconstructions"}
    paths = {os.path.join(folder, file): title for file, title in titles.items()}
    return [
        tag("figure", tag("img", src=pictures.file(path), alt=title, loading="lazy"), tag("figcaption", title), class_="picture")
        for path, title in paths.items()
        if os.path.isfile(path) and os.path.getsize(path) <= PICTURE_BYTES
    ]
