"""YOLO segmentation (Ultralytics): one text file per image with lines `class x y x y ...`, x and y as fractions of the image.

Class 0 of aeseg is the background, outside all polygons; YOLO's class i is class i + 1.  Later lines are drawn over earlier lines.
"""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from aeseg.data.annotations.polygons import painted
from aeseg.data.files import shown, text
from aeseg.types import UserError


def label(path: Path, classes: int, size: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    """Return the label of one image, for a class table of `classes` with the background first."""
    canvas = np.zeros(size, np.uint8)
    for number, corners in polygons(path):
        if not 0 <= number < classes - 1:
            raise UserError(
                f"{shown(path)} has the class {number}; class_table has {classes} with the background first: 0..{classes - 2} occur. "
                "Name the background and each class of the data set."
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
            raise UserError(f"Line {number} of {shown(path)} is not a class and numbers: {shown(line[:60])!r}. Correct it.") from error
        if len(values) == 5:
            raise UserError(f"Line {number} of {shown(path)} is a box; a segmentation has polygons: class x y x y x y ... Export those.")
        if len(values) < 7 or len(values) % 2 == 0 or values[0] != int(values[0]):
            raise UserError(
                f"Line {number} of {shown(path)} has {len(values)} numbers; expected a class and at least 3 pairs x y. Correct it."
            )
        lines.append((int(values[0]), np.array(values[1:]).reshape(-1, 2)))
    return lines
