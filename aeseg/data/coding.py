"""The coding of label files: numbers, colours or transparency, decided once for a data set from a sample of its files.

If one coding fits, it is used and printed.  If two fit, a UserError names both and the field that selects each.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from aeseg.data.classes import Lookup, Table, from_colours, from_ids, lookup
from aeseg.data.decode import Stored
from aeseg.data.files import few, shown
from aeseg.types import IGNORE, UserError

CODINGS = ("auto", "ids", "colours", "mask", "alpha")
"""Values of `coding`.  `mask`: 0 is class 0, 1 or 255 is class 1.  `alpha`: the same values in the alpha channel."""

_MOST = 5_000  # values and colours kept; a photograph has more
_COLOURS = dict[tuple[int, int, int], int]
_MASK = {0: 0, 1: 1, IGNORE: 1}


class Findings(NamedTuple):
    """The contents of a sample of label files.

    `values`: grey levels; `indices`: used palette indices; `palette`: their colours; `differs`: a sentence about an index with two
    colours; `colours`: RGB colours, empty if all are grey (then they are in `values`); `alphas`: alpha levels; `colour_under_alpha`:
    whether colours vary below the alpha channel; `lossy`: a file with lossy compression.
    """

    files: int = 0
    values: frozenset[int] = frozenset()
    indices: frozenset[int] = frozenset()
    palette: frozenset[tuple[int, int, int]] = frozenset()
    differs: str = ""
    colours: frozenset[tuple[int, int, int]] = frozenset()
    alphas: frozenset[int] = frozenset()
    colour_under_alpha: bool = False
    lossy: str = ""


class Coding(NamedTuple):
    """The mapping of label files to classes: by ids (grey levels, palette indices), by colours (RGB, palettes), or by alpha only."""

    grey: Lookup
    palette: Lookup | None  # None: by colour
    colours: _COLOURS
    rgb_is_grey: bool
    alpha: bool
    refuses_alpha: bool
    notes: tuple[str, ...]

    @property
    def key(self) -> tuple[object, ...]:
        """Return the fields that must agree between two splits of one data set."""
        palette = () if self.palette is None else tuple(sorted(self.palette.ids.items()))
        return tuple(sorted(self.grey.ids.items())), palette, self.alpha


def findings(sample: Iterable[tuple[str, Stored]]) -> Findings:
    """Collect the contents of a sample of (name, file)."""
    files = 0
    values: set[int] = set()
    indices: set[int] = set()
    alphas: set[int] = set()
    colours: set[tuple[int, int, int]] = set()
    palette: dict[int, tuple[int, int, int]] = {}
    under: set[tuple[int, int, int]] = set()
    lossy = differs = ""
    for name, stored in sample:
        files += 1
        lossy = lossy or (name if stored.lossy else "")
        if stored.values.ndim == 3:
            here = _colours(stored.values)
            if all(red == green == blue for red, green, blue in here):
                values |= {red for red, _, _ in here}
            else:
                colours |= here
        elif stored.palette is not None:
            for index in np.unique(stored.values).tolist():
                colour = tuple(stored.palette[index].tolist()) if index < len(stored.palette) else (0, 0, 0)
                indices.add(index)
                if palette.setdefault(index, colour) != colour and not differs:
                    differs = f"index {index} is {palette[index]} in one file and {colour} in {name}"
                under.add(colour)
        else:
            values |= set(np.unique(stored.values)[:_MOST].tolist())
        if stored.alpha is not None:
            alphas |= set(np.unique(stored.alpha).tolist())
            under |= _colours(stored.values) if stored.values.ndim == 3 else {(value,) * 3 for value in np.unique(stored.values).tolist()}
    if colours:  # grey pixels of colour-coded files are also colours
        colours |= {(value,) * 3 for value in values} if not indices and len(values) < _MOST else set()
    return Findings(
        files, frozenset(values), frozenset(indices), frozenset(under if indices else ()), differs, frozenset(colours),
        frozenset(alphas), len(under) > 1, lossy,
    )  # fmt: skip


def decide(sample: Findings, table: Table, coding: str = "auto", snap: float = 0.0) -> Coding:
    """Decide the coding of a data set from its sample and class table; UserError if two codings fit, or no safe one."""
    if coding not in CODINGS:
        raise UserError(f"coding is one of {', '.join(CODINGS)}; got {coding!r}.")
    if coding in ("mask", "alpha") and len(table.classes) != 2:
        raise UserError(f"coding={coding!r} needs 2 classes, background first; class_table has {len(table.classes)}. Name two.")
    if coding == "colours" and not table.colours:
        raise UserError("coding='colours' needs a class table with colours; this one has none. Write 'leaf #00c800, stem #964b00'.")
    notes: list[str] = []
    alpha = coding == "alpha" or (coding == "auto" and _is_alpha(sample, notes))
    if alpha:
        ids = _MASK if coding == "alpha" else _grey(sample.alphas, table._replace(colours={}), "auto", snap, "the alpha channel", notes)
        return Coding(lookup(ids), None, {}, True, True, False, tuple(notes))
    _check_lossy(sample, table, snap, notes)
    rgb_is_grey = not sample.colours and coding != "colours" and not (sample.values <= _greys(table).keys() and table.colours)
    grey = lookup(_grey(sample.values, table, coding, snap, "the labels", notes))
    palette = _palette(sample, table, coding, snap, notes)
    uses_colours = sample.colours or coding == "colours" or (sample.indices and palette is None)
    if table.shared and uses_colours:
        raise UserError(f"The labels are colour-coded, and classes of the table share a colour: {few(table.shared)}. Give each its own.")
    return Coding(grey, palette, table.colours, rgb_is_grey, False, coding == "auto", tuple(dict.fromkeys(notes)))


def classes_of(stored: Stored, coding: Coding, name: str, snap: float = 0.0) -> UInt8[np.ndarray, "h w"]:
    """Return the classes of a label file, IGNORE included; a value outside the coding raises a UserError with the file's name."""
    if coding.alpha:
        if stored.alpha is None:
            raise UserError(f"{shown(name)} has no alpha channel, where other labels hold the mask. Convert it, or set coding.")
        return from_ids(stored.alpha, coding.grey, name, snap)
    if coding.refuses_alpha and stored.alpha is not None and np.ptp(stored.alpha):
        raise UserError(
            f"The alpha channel of {shown(name)} varies; that of the sample did not. Set coding='alpha' if it is the mask, else "
            "coding='colours' or 'ids'."
        )
    if stored.values.ndim == 3:
        if coding.rgb_is_grey and (stored.values == stored.values[..., :1]).all():
            return from_ids(np.ascontiguousarray(stored.values[..., 0]), coding.grey, name, snap)
        return from_colours(stored.values, coding.colours, coding.grey, name, snap)
    if stored.palette is None:
        return from_ids(stored.values, coding.grey, name, snap)
    if coding.palette is not None:
        return from_ids(stored.values, coding.palette, name, snap)
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(stored.palette)] = stored.palette
    return from_colours(palette[stored.values], coding.colours, coding.grey, name, snap)


def strange(stored: Stored, coding: Coding) -> float:
    """Return the fraction of a label's pixels whose number or colour has no class."""
    if stored.values.ndim == 3 and not (coding.rgb_is_grey and (stored.values == stored.values[..., :1]).all()):
        known = np.array(list(coding.colours), np.int32).reshape(-1, 3) @ [65536, 256, 1]
        return float(1 - np.isin(stored.values.astype(np.int32) @ [65536, 256, 1], known).mean())
    values = stored.values if stored.values.ndim == 2 else stored.values[..., 0]
    return float(1 - np.isin(values, list(coding.grey.ids)).mean())


def _grey(values: frozenset[int], table: Table, coding: str, snap: float, what: str, notes: list[str]) -> dict[int, int]:
    """Map grey levels (or palette indices) to classes."""
    greys, classes = _greys(table), len(table.classes)
    explicit = {number for number in table.ids if not (table.implied and number == IGNORE)}
    if coding == "mask":
        return _MASK
    if coding == "colours":
        return greys
    if coding == "ids" or not values:
        return table.ids
    if values <= explicit:
        unclear = values <= {0} and table.implied and not table.numbered  # 255 may be void or the foreground of a mask
        return {number: index for number, index in table.ids.items() if not (unclear and number == IGNORE)}
    listed = few(sorted(values), 12)
    if values <= {0, IGNORE} and IGNORE in values and table.implied and not table.numbered:
        if values == {0, IGNORE} and classes == 2:
            ids = greys if values <= greys.keys() else {0: 0, IGNORE: 1}
            notes.append(f"labels are masks: 255 is {table.classes[ids[IGNORE]].name}" if ids[IGNORE] < classes else "255 is ignored")
            return ids
        if classes <= 2 or values == {0, IGNORE}:
            raise UserError(
                f"{what.capitalize()} hold the values {listed}, and class_table has {classes} classes: 255 may be ignored or be a class. "
                "Set coding='ids' if 255 is void; for a mask of 0 and 255 name two classes, background first, and set coding='mask'"
                + (", or coding='colours' if the table's colours count." if values <= greys.keys() else ".")
            )
    if values <= table.ids.keys():
        return table.ids  # 255 is void
    if values <= greys.keys():
        notes.append("labels are the grey levels of the table's colours")
        return greys
    rest = values - {IGNORE}
    if not table.numbered and 0 not in rest and rest and min(rest) >= 1 and max(rest) == classes:
        notes.append(f"ids start at 1: 1 is {table.classes[0].name}")
        return {number + 1: number for number in range(classes)} | {
            number: IGNORE for number, index in table.ids.items() if index == IGNORE
        }
    if snap > 0:
        if classes == 2 and max(values) >= 128 and max(explicit) < 128:
            return {0: 0, IGNORE: 1}
        return greys if _is_wide(values, greys) else table.ids
    if classes == 2 and len(values) == 2 and 0 in values:
        raise UserError(
            f"{what.capitalize()} hold the values {listed}; a mask holds 0 and 1, or 0 and 255. Set binary_threshold={max(values)} if "
            f"{max(values)} is {table.classes[1].name}, or name more classes."
        )
    if len(values) > classes + 2 and max(values) > 127 and min(values) == 0 and max(explicit) < 128:
        remedy = "binary_threshold=128 for a mask, or " if classes == 2 else ""
        raise UserError(
            f"{what.capitalize()} hold {len(values)} grey levels, {listed}, for {classes} classes: an anti-aliased or JPEG label, or a "
            f"photograph. Set {remedy}snap to the share of pixels that may take the nearest class (such as snap=0.1)."
        )
    return table.ids  # reading a file with another value raises an error with its name


def _palette(sample: Findings, table: Table, coding: str, snap: float, notes: list[str]) -> Lookup | None:
    """Map palette indices to classes; None if the palette's colours are the labels."""
    if not sample.indices or coding in ("ids", "mask"):
        return lookup(_MASK if coding == "mask" else table.ids)
    if coding == "colours" or (table.colours and sample.palette <= table.colours.keys()):
        notes.append("palette labels: colours count")
        return None
    if sample.differs:
        raise UserError(
            f"The palettes of the labels differ: {sample.differs}. Give class_table the colour of each class if colours count, or set "
            "coding='ids' if indices do."
        )
    notes.append("palette labels: indices count")
    return lookup(_grey(sample.indices, table._replace(colours={}), coding, snap, "the palette indices of the labels", notes))


def _is_alpha(sample: Findings, notes: list[str]) -> bool:
    if len(sample.alphas) < 2:
        return False
    if sample.colour_under_alpha:
        raise UserError(
            "Colour and alpha channel of the labels both vary. Set coding='alpha' if the transparency is the mask, or coding='colours' or "
            "'ids' if the colours or numbers under it are the classes."
        )
    notes.append("the mask is the alpha channel")
    return True


def _check_lossy(sample: Findings, table: Table, snap: float, notes: list[str]) -> None:
    if not sample.lossy or (sample.values <= {0, IGNORE} and not sample.colours and len(table.classes) == 2):
        return
    if not snap:
        raise UserError(
            f"{shown(sample.lossy)} is a label compressed with loss (JPEG or WebP), which changes ids and colours. Save labels as PNG; or "
            "set snap to the share of pixels that may take the nearest class (such as snap=0.1), or binary_threshold=128 for a mask."
        )
    notes.append("labels are compressed with loss: ids that became other ids cannot be detected")


def _greys(table: Table) -> dict[int, int]:
    """Map the grey levels of the table's grey colours to classes."""
    return {red: index for (red, green, blue), index in table.colours.items() if red == green == blue}


def _is_wide(values: frozenset[int], greys: dict[int, int]) -> bool:
    return len(greys) > 1 and max(greys) > 64 and max(values) > 64


def _colours(pixels: np.ndarray) -> set[tuple[int, int, int]]:
    flat = pixels.reshape(-1, pixels.shape[-1])[:, :3].astype(np.int32)
    codes = np.unique(flat[:, 0] << 16 | flat[:, 1] << 8 | flat[:, 2])[:_MOST].tolist()
    return {(code >> 16, code >> 8 & 255, code & 255) for code in codes}
