"""Elements that several sections of a page use."""

import json
import math
from typing import Any

from .markup import Markup, tag


def percent(value: float | None, digits: int = 1) -> str:
    """Format a fraction in percent, without the sign; a dash for None and NaN."""
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f}"


def section(name: str, title: str, *children: Any) -> Markup:
    """Return a section of the page; `name` is its id."""
    return tag("section", tag("h2", title), *children, id=name)


def scrolled(table: Markup) -> Markup:
    """Return a table that scrolls sideways on a narrow page."""
    return tag("div", table, class_="scroll", tabindex=0)


def spelled(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 400 else f"{text[:400]} …"
