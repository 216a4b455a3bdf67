"""YOLO segmentation (Ultralytics): one text file per image with lines `class x y x y ...`, x and y as fractions of the image.

Class 0 is the background, outside all polygons; class i of the file is class i + 1.  Later lines cover earlier lines.
"""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from aeseg.data.annotations.polygons import painted
from aeseg.data.files import shown, text
from aeseg.types import UserError


def label(path: Path, classes: int, size: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    """Return the label of an image; `classes` is the number of classes, of which the first is the background."""
    canvas = np.zeros(size, np.uint8)
    for number, corners in polygons(path):
        if not 0 <= number < classes - 1:
            raise UserError(
                f"{shown(path)} has class {number}; expected 0..{classes - 2}, since class_table has {classes} classes, background first. "
                "Name the background and each class of the data set there."
            )
        canvas = painted(canvas, corners * [size[1], size[0]], number + 1, shown(path))
    return canvas


def polygons(path: Path) -> list[tuple[int, np.ndarray]]:
    """Return (class, corners [n 2] in 0..1) of each line."""
    lines = []
    for number, line in enumerate(text(path, "annotation").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            values = [float(word) for word in words]
        except ValueError as error:
            raise UserError(
                f"Line {number} of {shown(path)} is not a class and coordinates: {shown(line[:60])!r}. Correct the file."
            ) from error
        if len(values) == 5:
            raise UserError(f"Line {number} of {shown(path)} is a box; expected a polygon: class x y x y x y ... Export polygons.")
        if len(values) < 7 or len(values) % 2 == 0 or values[0] != int(values[0]):
            raise UserError(
                f"Line {number} of {shown(path)} has {len(values)} numbers; expected a class and at least 3 pairs x y. Correct the file."
            )
        lines.append((int(values[0]), np.array(values[1:]).reshape(-1, 2)))
    return lines
