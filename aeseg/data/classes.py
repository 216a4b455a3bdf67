"""Class tables: which number or colour in a label file is which class.

A table is given in a config as names, each with a colour if wanted, `"sky #808080, building #800000, road"`; as a number of
classes, `"21"`; or as a JSON file:

    [{"id": 0, "name": "sky", "colour": [128, 128, 128]},
     {"id": 7, "name": "road", "colour": [128, 64, 128]},
     {"id": 11, "name": "void", "colour": [0, 0, 0], "ignore": true}]

In the order of their ids, the entries that are not ignored become classes 0, 1, 2, ...; entries of one name are one class.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped, UInt8

from aeseg.types import IGNORE, Class, UserError

_LARGEST = 65535  # the largest id a label may hold
_KEYS = {"id", "name", "colour", "color", "ignore"}


class Table(NamedTuple):
    """What the numbers and colours of label files mean."""

    classes: tuple[Class, ...]
    ids: dict[int, int]  # stored id -> class, or IGNORE
    colours: dict[tuple[int, int, int], int]  # stored colour -> class, or IGNORE; empty where labels are ids alone


def default_colour(index: int) -> tuple[int, int, int]:
    """The colour of class `index` in the palette of PASCAL VOC: the bits of the index, spread over three channels."""
    colour = [0, 0, 0]
    for shift in range(8):
        for channel in range(3):
            colour[channel] |= (index >> channel & 1) << (7 - shift)
        index >>= 3
    return colour[0], colour[1], colour[2]


def described(classes: Iterable[Class]) -> str:
    """Classes as a config holds them."""
    return ", ".join(f"{item.name} #{bytes(item.colour).hex()}" for item in classes)


def table(classes: str | tuple[str, ...], ignore_ids: tuple[int, ...] = (), root: str = "") -> Table:
    """The table that a config names: a path ending in .json (below `root`), names separated by commas or in a tuple, or a number
    of classes.  `ignore_ids`, and 255 unless the table says otherwise, are IGNORE."""
    if isinstance(classes, str) and classes.endswith(".json"):
        entries = _read(Path(root) / classes)
    elif isinstance(classes, str) and classes.isdecimal():
        entries = [{"id": index, "name": f"class {index}"} for index in range(int(classes))]
    else:
        names = classes.split(",") if isinstance(classes, str) else classes
        entries = [_entry(index, name) for index, name in enumerate(name.strip() for name in names if name.strip())]
    found: dict[str, Class] = {}
    ids, colours = {IGNORE: IGNORE}, {}
    for entry in sorted(entries, key=lambda entry: entry["id"]):
        if entry["id"] in ignore_ids or entry.get("ignore", False):
            index = IGNORE
        else:
            index = list(found).index(entry["name"]) if entry["name"] in found else len(found)
            found.setdefault(entry["name"], Class(entry["name"], entry.get("colour", default_colour(index))))
        ids[entry["id"]] = index
        if "colour" in entry:
            colours[entry["colour"]] = index
    ids.update(dict.fromkeys(ignore_ids, IGNORE))
    if not 1 <= len(found) <= IGNORE:
        raise UserError(f"A class table has 1 to {IGNORE} classes; {classes!r} gives {len(found)}. Name the classes.")
    return Table(tuple(found.values()), ids, colours)


def lookup(ids: Mapping[int, int]) -> Shaped[np.ndarray, "n"]:
    """`ids` as an array over 0..65535: the class, IGNORE, or -1 where the id is not allowed."""
    classes = np.full(_LARGEST + 1, -1, np.int16)
    classes[list(ids)] = list(ids.values())
    return classes


def from_ids(label: Shaped[np.ndarray, "h w"], classes: Shaped[np.ndarray, "n"], name: str) -> UInt8[np.ndarray, "h w"]:
    """Stored ids to classes by the array of `lookup`; an id not allowed is a UserError with file, id and place."""
    found = classes[np.clip(label, 0, _LARGEST)] if label.dtype.itemsize > 2 else classes[label]
    wrong = (found < 0) | (label > _LARGEST) | (label < 0) if label.dtype.itemsize > 2 else found < 0
    if wrong.any():
        y, x = np.argwhere(wrong)[0]
        others = np.unique(label[wrong])
        raise UserError(
            f"{name} holds the label {label[y, x]} at x={x}, y={y}; allowed are {_ranges(classes)}. All that are not: "
            f"{_few([str(value) for value in others])}. Give them a class, or ignore them with ignore_ids."
        )
    return found.astype(np.uint8)


def from_colours(
    label: UInt8[np.ndarray, "h w 3"],
    colours: Mapping[tuple[int, int, int], int],
    ids: Shaped[np.ndarray, "n"],
    name: str,
) -> UInt8[np.ndarray, "h w"]:
    """Colours to classes; a colour that is not in the table is a UserError with the file, the colour, the place.

    With no colours in the table, grey written as RGB is ids (`ids` of `lookup`).
    """
    if not colours and (label == label[..., :1]).all():
        return from_ids(label[..., 0], ids, name)
    if not colours:
        raise UserError(
            f"{name} is colour-coded, and the class table has no colours. Give a class table with the colour of each class "
            "(classes=<file>.json), or labels of ids."
        )
    known = sorted((int(_code(np.array([colour]))[0]), index) for colour, index in colours.items())
    codes, classes = np.array([code for code, _ in known]), np.array([index for _, index in known], np.uint8)
    stored = _code(label)
    place = np.minimum(np.searchsorted(codes, stored), len(codes) - 1)
    wrong = codes[place] != stored
    if wrong.any():
        y, x = np.argwhere(wrong)[0]
        red, green, blue = (int(value) for value in label[y, x])
        raise UserError(
            f"{name} holds the colour ({red}, {green}, {blue}) at x={x}, y={y}, and {len(np.unique(stored[wrong])) - 1} others, "
            f"that the class table does not have; it has {_few([str(colour) for colour in colours])}. Add them to the table, "
            "with ignore if they are void. (A JPEG changes colours: save labels as PNG. Ids "
            "written as RGB need a table without colours.)"
        )
    return classes[place]


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads(path.read_text())
    except OSError as error:
        raise UserError(f"Cannot read the class table {path}: {error.strerror}. Check the path.") from error
    except ValueError as error:
        raise UserError(f"The class table {path} is not JSON ({error}). Mend it.") from error
    if not isinstance(entries, list) or not entries:
        raise UserError(f"The class table {path} should hold a list of classes; see aeseg/data/classes.py for an example.")
    seen: set[int] = set()
    for entry in entries:
        if not isinstance(entry, dict) or not {"id"} <= set(entry) <= _KEYS or not ("name" in entry or entry.get("ignore")):
            raise UserError(f"In {path}, a class has id, name and, if wanted, colour and ignore; got {json.dumps(entry)}.")
        if not isinstance(entry["id"], int) or not 0 <= entry["id"] <= _LARGEST or entry["id"] in seen:
            raise UserError(f"In {path}, ids are different numbers 0..{_LARGEST}; got {json.dumps(entry)}.")
        seen.add(entry["id"])
        entry["name"] = str(entry.get("name", "ignored"))
        colour = entry.pop("color", entry.pop("colour", None))
        if colour is not None:
            if len(colour) != 3 or not all(isinstance(value, int) and 0 <= value <= 255 for value in colour):
                raise UserError(f"In {path}, a colour is [red, green, blue], each 0..255; {entry['name']} has {colour}.")
            entry["colour"] = tuple(colour)
    return entries


def _entry(index: int, text: str) -> dict[str, Any]:
    coloured = re.fullmatch(r"(.*\S)\s+#([0-9a-fA-F]{6})", text)
    if coloured is None:
        return {"id": index, "name": text}
    return {"id": index, "name": coloured[1], "colour": tuple(bytes.fromhex(coloured[2]))}


def _code(colour: np.ndarray) -> np.ndarray:
    colour = colour.astype(np.int32)
    return colour[..., 0] << 16 | colour[..., 1] << 8 | colour[..., 2]


def _ranges(classes: np.ndarray) -> str:
    """The allowed ids in words: 0..10, 255."""
    allowed = np.flatnonzero(classes >= 0)
    runs = np.split(allowed, np.flatnonzero(np.diff(allowed) > 1) + 1)
    return _few([str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs], most=12)


def _few(words: list[str], most: int = 5) -> str:
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")
