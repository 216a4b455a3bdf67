"""The label of one record, from its label image, its masks, or its annotations."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from aeseg.data import decode
from aeseg.data.annotations import coco, labelme, yolo
from aeseg.data.classes import Table
from aeseg.data.coding import Coding, classes_of
from aeseg.data.decode import Reading
from aeseg.data.files import IMAGES, few, shown
from aeseg.data.matching import Files
from aeseg.types import IGNORE, UserError

OVERLAPS = ("ask", "last", "ignore")
"""Treatments of overlapping masks of two classes: refuse, take the later class of the table, or ignore the pixel."""


class Meaning(NamedTuple):
    """Meaning of a data set's labels.  `coding` is None if there are no coded label images; `one_file`: COCO."""

    table: Table
    coding: Coding | None
    threshold: int
    snap: float
    overlap: str
    reading: Reading
    one_file: bool = False


def label(root: str, files: Files, meaning: Meaning, size: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    """Return the classes of a record's pixels, IGNORE included; `size` is the image's height and width, for drawn annotations."""
    path = Path(root, files.label)
    if files.masks:
        return composed(root, files, meaning)
    if not files.label.lower().endswith(IMAGES):
        if files.label.lower().endswith(".txt"):
            return yolo.label(path, len(meaning.table.classes), size)
        if meaning.one_file:
            return coco.label(path, files.image, meaning.table.names, size)
        return labelme.label(path, meaning.table.names, size)
    if meaning.threshold:
        return decode.mask(path, meaning.threshold, reading=meaning.reading).astype(np.uint8)
    assert meaning.coding is not None
    return classes_of(decode.stored(path, reading=meaning.reading), meaning.coding, str(path), meaning.snap)


def composed(root: str, files: Files, meaning: Meaning) -> UInt8[np.ndarray, "h w"]:
    """Compose one label from a record's masks: one mask for each class (by name), or one for each object of class 1.

    A pixel outside all masks is class 0, or IGNORE if class 0 has its own masks.
    """
    names = {word: index for name, index in meaning.table.names.items() for word in (name, name.replace(" ", "_"))}
    regions: dict[int, Bool[np.ndarray, "h w"]] = {}
    for name, file in files.masks:
        if name and name not in names:
            raise UserError(f"{shown(file)} is the mask of {shown(name)!r}; class_table has {few(names, 20)}. Add the class.")
        index = names[name] if name else 1
        here = binary(Path(root, file), meaning.threshold, meaning.reading)
        if index in regions and regions[index].shape != here.shape:
            raise UserError(f"The masks of {shown(files.name)} are of different sizes; {shown(file)} is {here.shape[0]}x{here.shape[1]}.")
        regions[index] = regions[index] | here if index in regions else here
    if len({region.shape for region in regions.values()}) != 1:
        raise UserError(f"The masks of {shown(files.name)} are of different sizes (height x width). Replace those that do not fit.")
    result = np.full(next(iter(regions.values())).shape, IGNORE if 0 in regions else 0, np.uint8)
    taken = np.zeros(result.shape, bool)
    for index in sorted(regions):
        twice = taken & regions[index]
        if twice.any() and meaning.overlap == "ask":
            raise UserError(
                f"Masks of two classes of {shown(files.name)} overlap in {100 * twice.mean():.2g} % of the pixels. Set overlap='last' to "
                "take the later class of class_table, or overlap='ignore'."
            )
        result[regions[index]] = index
        if meaning.overlap == "ignore":
            result[twice] = IGNORE
        taken |= regions[index]
    return result


def binary(path: Path, threshold: int, reading: Reading) -> Bool[np.ndarray, "h w"]:
    """Return the foreground of one mask: the only value other than 0, or the values that reach the threshold."""
    if threshold:
        return decode.mask(path, threshold, reading=reading)
    stored = decode.stored(path, reading=reading)
    values = stored.values if stored.values.ndim == 2 else stored.values.max(axis=-1)
    if stored.alpha is not None and not values.any() and np.ptp(stored.alpha):
        values = stored.alpha
    levels = np.unique(values)
    if len(levels) > 2 or (len(levels) == 2 and levels[0] != 0):
        raise UserError(
            f"{shown(path)} holds {len(levels)} values, {few(levels)}; a mask holds 0 and one other. Set binary_threshold (say 128)."
        )
    return values != 0
