"""Convert aeseg's plain docstrings to reStructuredText: code in backticks, lists of fields, doctests and indented code."""

import re
from typing import Any

FIELD = re.compile(r"(\S+(?:, \S+)*)  +(\S.*)")
"""Pattern of a line such as `width, depth   channels and blocks`."""

CODE = re.compile(r"`([^`]+)`(\w?)")


def process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Handler of autodoc-process-docstring."""
    lines[:] = converted(lines)


def process_signature(app: Any, what: str, name: str, obj: Any, options: Any, signature: str, returns: str) -> tuple[str, str] | None:
    """Handler of autodoc-process-signature: leave out the fields that flax adds to every linen module."""
    if what != "class" or not signature or ", parent:" not in signature:
        return None
    return signature.partition(", parent:")[0] + ")", ""


def converted(lines: list[str]) -> list[str]:
    """Return the lines of a docstring as reStructuredText."""
    out: list[str] = []
    state = "text"  # | doctest | list | code
    for line in lines:
        blank, indented = not line.strip(), line.startswith(" ")
        field = None if state == "doctest" or indented or line.startswith(">>>") else FIELD.fullmatch(line)
        if state == "doctest" and not blank:
            out.append(line)
        elif blank:
            state = "text" if state == "doctest" else state
            out.append("")
        elif line.startswith(">>>"):
            state = "doctest"
            out += ["", line]
        elif field:
            if state != "list":
                out.append("")
            state = "list"
            names = ", ".join(f"``{each.strip('`')}``" for each in field.group(1).split(", "))
            out.append(f"* {names}: {escaped(field.group(2))}")
        elif indented and state == "list" and out[-1]:
            out.append(f"  {escaped(line.strip())}")
        elif indented and (state == "code" or not out or not out[-1]):
            if state != "code":
                out += ["::", ""]
            state = "code"
            out.append(line)
        else:
            if state in ("list", "code") and out[-1]:
                out.append("")
            state = "text"
            out.append(escaped(line.strip()))
    return [*out, ""]


def escaped(text: str) -> str:
    """Return text with code as literals and all other reStructuredText markup escaped."""
    parts, end = [], 0
    for match in CODE.finditer(text):
        parts.append(_plain(text[end : match.start()]))
        parts.append(f"``{match.group(1)}``" + (f"\\ {match.group(2)}" if match.group(2) else ""))
        end = match.end()
    return "".join([*parts, _plain(text[end:])])


def _plain(text: str) -> str:
    return re.sub(r"([\\*|`]|_(?!\w))", r"\\\1", text)
