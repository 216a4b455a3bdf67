"""List files: text or CSV, one record per line.

A line holds either the paths of an image, its label and optionally its region of interest, separated by tabs, commas, semicolons or
spaces, quoted if needed; or the name of one image, with or without folder and ending.  A header, empty lines and lines that begin
with # are skipped.  Paths must be below the root.
"""

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from aeseg.data.files import LABELS, few, is_inside, shown, text
from aeseg.types import UserError

_HEADER = re.compile(r"(image|img|file|filename|file_?name|path|name|id)(_?(path|name|id|file))?", re.I)


class Rows(NamedTuple):
    """The rows of a list, each a tuple of paths below the root or of one name, and notes about them."""

    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def read(root: str, list_file: str, prefix: str) -> Rows:
    """Read a list file below `root`; a `prefix` at the start of a path stands for the root."""
    path = Path(root, list_file)
    try:
        lines = [line.strip() for line in text(path, "list").splitlines()]
    except UserError as error:
        raise UserError(f"{error} Set list_file to a text file.") from error
    lines = [line for line in lines if line and not line.startswith("#")]
    rows = [tuple(_slashes(item) for item in _items(line)) for line in lines]
    if (
        rows
        and not rows[0][0].lower().endswith(LABELS)
        and _HEADER.fullmatch(rows[0][0])
        and len(rows) > 1
        and len(rows[0]) == len(rows[1])
    ):
        rows = rows[1:] if len(rows[0]) > 1 or rows[1][0].lower().endswith(LABELS) else rows
    rows = [tuple(_cut(item, prefix) for item in row) for row in rows]
    rows, notes = _below(root, rows, path)
    once = tuple(dict.fromkeys(rows))
    if len(once) < len(rows):
        again = [row[0] for row in once if rows.count(row) > 1] if len(rows) < 10_000 else []
        notes.append(f"{len(rows) - len(once)} lines of {shown(path)} name a record again ({few(again)}); each record is taken once")
    return Rows(once, tuple(notes))


def stands_for_itself(name: str) -> bool:
    """Return whether a line with this name is read as one name."""
    return name == name.strip() and name.splitlines() == [name] and name[0] not in '#"' and "\\" not in name and _items(name) == [name]


def _items(line: str) -> list[str]:
    """Return the paths of a line; a line that does not consist of paths is one name."""
    for delimiter in "\t,;":
        if delimiter in line:
            items = [item.strip() for item in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]
            items = [item for item in items if item]
            if len(items) >= 1 and (delimiter == "\t" or _are_paths(items) or _HEADER.fullmatch(items[0])):
                return items[:3]
    unquoted = next(csv.reader([line], delimiter=" ", skipinitialspace=True))
    items = [item for item in unquoted if item]
    if 2 <= len(items) <= 3 and _are_paths(items):
        return items
    return [items[0] if line[0] == '"' and len(items) == 1 else line]


def _are_paths(items: Sequence[str]) -> bool:
    return 1 <= len(items) <= 3 and all(item.lower().endswith(LABELS) for item in items)


def _slashes(path: str) -> str:
    """Replace Windows' separators by slashes."""
    return re.sub(r"^[a-zA-Z]:", "", path).replace("\\", "/") if "\\" in path else path


def _cut(path: str, prefix: str) -> str:
    return path[len(prefix) :].lstrip("/") if prefix and path.startswith(prefix) else path


def _below(root: str, rows: list[tuple[str, ...]], path: Path) -> tuple[list[tuple[str, ...]], list[str]]:
    """Make all paths relative to the root; absolute paths lose the folder that was the root on another machine."""
    rows = [tuple(os.path.relpath(item, os.path.abspath(root)) if _is_ours(item, root) else item for item in row) for row in rows]
    absolute = [item for row in rows for item in row if os.path.isabs(item)]
    notes = []
    if absolute:
        strange = _root_elsewhere(root, absolute)
        if strange:
            rows = [tuple(os.path.relpath(item, strange) if os.path.isabs(item) else item for item in row) for row in rows]
            notes.append(f"{shown(strange)} in {shown(path)} stands for {shown(root)}")
    outside = [item for row in rows for item in row if not is_inside(item, root)]
    if outside:
        raise UserError(
            f"{len(outside)} paths in the list {shown(path)} lie outside {shown(root)}: {few(outside)}. Lists name files below the root; "
            "set list_prefix to the head of the paths that stands for it."
        )
    return [tuple(os.path.normpath(item) for item in row) for row in rows], notes


def _is_ours(item: str, root: str) -> bool:
    return os.path.isabs(item) and is_inside(item, root)


def _root_elsewhere(root: str, absolute: Sequence[str]) -> str:
    """Return the folder that was the root on another machine: below it, all paths exist in our root.  "" if there is none."""
    common = os.path.commonpath([os.path.dirname(item) for item in absolute])
    while True:
        if all(os.path.exists(os.path.join(root, os.path.relpath(item, common))) for item in absolute[:100]):
            return common
        if common == os.path.dirname(common):
            return ""
        common = os.path.dirname(common)
