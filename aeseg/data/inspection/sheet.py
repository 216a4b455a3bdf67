"""Contact sheet: images with overlaid labels, the rarest classes first."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from aeseg import files
from aeseg.types import IGNORE, Class, UserError

CELL = 192
"""Side of a cell in pixels."""

COLUMNS = 6


def write(path: Path, source: Any, order: Iterable[int], most: int = 30) -> int:
    """Write the sheet of a source's records in an order; return the number shown.  Unreadable records are left out."""
    cells: list[np.ndarray] = []
    for index in order:
        if len(cells) == most:
            break
        try:
            record = source[int(index)]
        except UserError:
            continue
        cells.append(cell(record, source.classes))
    if cells:
        with files.replacing(os.fspath(path)) as temporary:
            Image.fromarray(grid(cells)).save(temporary, "png")
    return len(cells)


def rarest_first(presence: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Order records by the rarest class that each contains; `presence` is [records classes], `shares` are class fractions."""
    rarity = np.where(presence, shares, np.inf).min(axis=1, initial=np.inf)
    return np.argsort(rarity, kind="stable")


def cell(record: dict[str, Any], classes: Sequence[Class]) -> UInt8[np.ndarray, "h w 3"]:
    """Draw an image beside its overlay: half-transparent class colours, opaque outlines, dark ignored pixels."""
    image = _rgb(record["image"])
    if "label" not in record:
        return _fitted(image)
    label = record["label"]
    colours = np.zeros((256, 3), np.uint8)
    for index, item in enumerate(classes):
        colours[index] = item.colour
    if len(classes) == 2 and colours[1].min() > 250:
        colours[1] = (255, 80, 60)  # white is invisible on a bright image
    painted = colours[label]
    shown = np.where((label == 0)[..., None], image, image // 2 + painted // 2)
    shown = np.where((label == IGNORE)[..., None], image // 3, shown).astype(np.uint8)
    return np.concatenate([_fitted(image), _fitted(shown)], axis=1)


def grid(cells: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> UInt8[np.ndarray, "h w 3"]:
    """Arrange cells of one size in rows, on grey."""
    columns = min(COLUMNS if cells[0].shape[1] <= CELL else COLUMNS // 2, len(cells))
    rows = -(-len(cells) // columns)
    h, w = cells[0].shape[0] + 4, cells[0].shape[1] + 4
    sheet = np.full((rows * h, columns * w, 3), 96, np.uint8)
    for number, one in enumerate(cells):
        top, left = number // columns * h + 2, number % columns * w + 2
        sheet[top : top + one.shape[0], left : left + one.shape[1]] = one
    return sheet


def _rgb(image: np.ndarray) -> np.ndarray:
    return image[..., :3] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, axis=-1)


def _fitted(image: np.ndarray) -> np.ndarray:
    """Fit the image into a square cell, with the same aspect."""
    scale = CELL / max(image.shape[:2])
    h, w = (max(1, round(side * scale)) for side in image.shape[:2])
    small = cv2.resize(np.ascontiguousarray(image), (w, h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    square = np.full((CELL, CELL, 3), 40, np.uint8)
    square[(CELL - h) // 2 : (CELL - h) // 2 + h, (CELL - w) // 2 : (CELL - w) // 2 + w] = small
    return square
