"""Class tables: the class of each number or colour in a label file.

A config gives a table in one of three ways: names, each with an optional colour or id (`"sky #808080, building #800000, road"`,
`"7: road, 11: sidewalk"`); a number of classes (`"21"`); or a file (data/tables.py).  The entries that are not ignored become
classes 0, 1, 2, ... in the order of their ids; entries with the same name are one class.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped, UInt8

from aeseg.data import tables
from aeseg.data.files import few, shown
from aeseg.types import IGNORE, Class, UserError

_LARGEST = 65535  # the largest id in the array of a Lookup


class Table(NamedTuple):
    """The classes of the numbers and colours in label files.

    `implied`: 255 is ignored by convention, not by name; `numbered`: the table gives the ids.
    """

    classes: tuple[Class, ...]
    ids: dict[int, int]  # stored id -> class, or IGNORE
    colours: dict[tuple[int, int, int], int]  # stored colour -> class, or IGNORE; empty if labels are ids
    implied: bool = True
    numbered: bool = False
    shared: tuple[str, ...] = ()  # classes that share their colour with another class
    names: Mapping[str, int] = MappingProxyType({})  # name -> class, or IGNORE


class Lookup(NamedTuple):
    """Ids and their classes, with an array over 0..65535: the class, IGNORE, or -1 for an id without one."""

    ids: Mapping[int, int]
    array: Shaped[np.ndarray, "n"]


def default_colour(index: int) -> tuple[int, int, int]:
    """Return the colour of class `index` in PASCAL VOC's palette: the bits of the index, spread over three channels."""
    colour = [0, 0, 0]
    for shift in range(8):
        for channel in range(3):
            colour[channel] |= (index >> channel & 1) << (7 - shift)
        index >>= 3
    return colour[0], colour[1], colour[2]


def table(classes: str | tuple[str, ...], ignore_ids: tuple[int, ...] = (), root: str = "") -> Table:
    """Return the table that a config gives: a file below `root`, names separated by commas or in a tuple, or a number of classes.

    `ignore_ids` become IGNORE, as does 255 unless the table gives it a class.
    """
    if isinstance(classes, str) and classes.lower().endswith(tables.KINDS):
        entries = tables.read(Path(root) / classes)
    elif isinstance(classes, str) and classes.isdecimal():
        if not 1 <= int(classes) <= IGNORE:
            raise UserError(f"A class table has 1 to {IGNORE} classes; {classes!r} gives {classes[:20]}. Name the classes.")
        entries = [{"id": index, "name": f"class {index}"} for index in range(int(classes))]
    else:
        names = classes.split(",") if isinstance(classes, str) else classes
        entries = [tables.inline(index, name) for index, name in enumerate(name.strip() for name in names if name.strip())]
    _check_ids(entries)
    kept: dict[str, Class] = {}
    ids: dict[int, int] = {IGNORE: IGNORE}
    words: dict[str, int] = {}
    colours: dict[tuple[int, int, int], int] = {}
    shared: list[str] = []
    for entry in sorted(entries, key=lambda entry: entry["id"]):
        if entry["id"] in ignore_ids or entry.get("ignore", False):
            index = IGNORE
        else:
            index = list(kept).index(entry["name"]) if entry["name"] in kept else len(kept)
            kept.setdefault(entry["name"], Class(entry["name"], entry.get("colour", default_colour(index % 256))))
        ids[entry["id"]] = words[entry["name"]] = index
        if "colour" in entry:
            if colours.get(entry["colour"], index) != index:
                shared.append(entry["name"])
            colours[entry["colour"]] = index
    ids.update(dict.fromkeys(ignore_ids, IGNORE))
    if not 1 <= len(kept) <= IGNORE:
        raise UserError(f"A class table has 1 to {IGNORE} classes; {shown(classes)!r} gives {len(kept)}. Name the classes.")
    implied = IGNORE not in ignore_ids and all(entry["id"] != IGNORE for entry in entries)
    numbered = any(entry.get("numbered", False) for entry in entries)
    return Table(tuple(kept.values()), ids, colours, implied, numbered, tuple(shared), words)


def lookup(ids: Mapping[int, int]) -> Lookup:
    """Return `ids` with an array for ids of 8 and 16 bits."""
    classes = np.full(_LARGEST + 1, -1, np.int16)
    for number, index in ids.items():
        if 0 <= number <= _LARGEST:
            classes[number] = index
    return Lookup(ids, classes)


def from_ids(label: Shaped[np.ndarray, "h w"], ids: Lookup, name: str, snap: float = 0.0) -> UInt8[np.ndarray, "h w"]:
    """Map stored ids to classes; an id without a class raises a UserError with its file, id and position.

    Instead, up to a fraction `snap` of the pixels may take the class of the nearest id.
    """
    if label.dtype in (np.uint8, np.uint16):
        classes = ids.array[label]
    else:
        values, inverse = np.unique(label, return_inverse=True)
        classes = np.array([ids.ids.get(int(value), -1) for value in values], np.int16)[inverse.reshape(label.shape)]
    wrong = classes < 0
    if wrong.any():
        share = np.count_nonzero(wrong) / wrong.size
        if share <= snap:
            known = np.array(sorted(ids.ids), np.int64)
            nearest = known[np.abs(label[wrong].astype(np.int64)[:, None] - known).argmin(axis=1)]
            classes[wrong] = [ids.ids[int(value)] for value in nearest]
            return classes.astype(np.uint8)
        y, x = np.argwhere(wrong)[0]
        raise UserError(
            f"{shown(name)} holds the label {label[y, x]} at x={x}, y={y}; allowed are {_ranges(ids.ids)}. All that are not "
            f"({100 * share:.2g} % of the pixels): {few(np.unique(label[wrong]))}. Give them a class, ignore them with ignore_ids, or set "
            "snap to the share of pixels that may take the nearest class. (If ids start at 1 and 0 is void, name the void first in "
            "class_table and set ignore_ids=(0,).)"
        )
    return classes.astype(np.uint8)


def from_colours(
    label: UInt8[np.ndarray, "h w 3"],
    colours: Mapping[tuple[int, int, int], int],
    ids: Lookup,
    name: str,
    snap: float = 0.0,
) -> UInt8[np.ndarray, "h w"]:
    """Map colours to classes; a colour outside the table raises a UserError with its file, colour and position.

    If the table has no colours, grey pixels stored as RGB are ids.  `snap` acts as in `from_ids`, with the distance in RGB.
    """
    if not colours and (label == label[..., :1]).all():
        return from_ids(label[..., 0], ids, name, snap)
    if not colours:
        raise UserError(
            f"{shown(name)} is colour-coded, and the class table has no colours. Give a class table with the colour of each class "
            "(classes=<file>.json), or labels of ids."
        )
    known = sorted((int(_code(np.array([colour]))[0]), index) for colour, index in colours.items())
    codes, classes = np.array([code for code, _ in known]), np.array([index for _, index in known], np.uint8)
    stored = _code(label)
    position = np.minimum(np.searchsorted(codes, stored), len(codes) - 1)
    wrong = codes[position] != stored
    if wrong.any():
        share = np.count_nonzero(wrong) / wrong.size
        if share <= snap:
            position[wrong] = _nearest(stored[wrong], codes)
            return classes[position]
        y, x = np.argwhere(wrong)[0]
        red, green, blue = (int(value) for value in label[y, x])
        raise UserError(
            f"{shown(name)} holds the colour ({red}, {green}, {blue}) at x={x}, y={y}, and {len(np.unique(stored[wrong])) - 1} others, "
            f"that the class table does not have ({100 * share:.2g} % of the pixels); it has {few(colours)}. Add them to the table, "
            "with ignore if they are void, or set snap to the share of pixels that may take the nearest colour. (A JPEG changes "
            "colours: save labels as PNG. Ids written as RGB need a table without colours.)"
        )
    return classes[position]


def _nearest(stored: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return, for each stored colour code, the index of the nearest of `codes`."""
    values, inverse = np.unique(stored, return_inverse=True)
    apart = _channels(values)[:, None] - _channels(codes)[None]
    return np.square(apart).sum(axis=-1).argmin(axis=1)[inverse.reshape(-1)]


def _channels(codes: np.ndarray) -> np.ndarray:
    return np.stack([codes >> 16 & 255, codes >> 8 & 255, codes & 255], axis=-1)


def _check_ids(entries: list[tables.Entry]) -> None:
    ids = [entry["id"] for entry in entries]
    if len(set(ids)) != len(ids):
        raise UserError(f"The ids of a class table are different numbers; got {few(ids, 20)}. Give each class an id of its own.")


def _code(colour: np.ndarray) -> np.ndarray:
    colour = colour.astype(np.int32)
    return colour[..., 0] << 16 | colour[..., 1] << 8 | colour[..., 2]


def _ranges(ids: Iterable[int]) -> str:
    """Format the allowed ids: 0..10, 255."""
    allowed = np.array(sorted(ids))
    runs = np.split(allowed, np.flatnonzero(np.diff(allowed) > 1) + 1)
    return few([str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs], most=12)
