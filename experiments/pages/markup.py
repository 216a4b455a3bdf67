"""Build HTML and SVG with function calls.  Every text and attribute is escaped, except Markup."""

import html
from collections.abc import Iterable
from typing import Any

VOID = {"img", "input", "meta", "br", "hr", "link"}
"""Elements without an end tag."""


class Markup(str):
    """Text that is HTML."""

    __slots__ = ()


def tag(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """Return an element; `class_` is class, other underscores are hyphens, and attributes that are None or False are left out.

    >>> tag("td", "a < b", class_="number", title='"')
    '<td class="number" title="&quot;">a &lt; b</td>'
    """
    listed = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None and value is not False)
    return Markup(f"<{name}{listed}>" if name in VOID else f"<{name}{listed}>{joined(*children)}</{name}>")


def joined(*children: Any) -> Markup:
    """Join children: keep Markup, join iterables, leave out None, and escape everything else as text."""
    return Markup("".join(_child(child) for child in children))


def _child(child: Any) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return str(child)
    if isinstance(child, Iterable) and not isinstance(child, str):
        return str(joined(*child))
    return html.escape(str(child), quote=False)


def _attribute(key: str, value: Any) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'
