"""Georeference of a GeoTIFF: tags read from one file and written to another with the same grid (GeoTIFF 1.1, OGC 19-008r4)."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from aeseg.data.files import opened, shown
from aeseg.data.headers import FAILURES, tiff_directories
from aeseg.types import UserError

TAGS = {33550: "d", 33922: "d", 34264: "d", 34735: "H", 34736: "d", 34737: "s"}
"""Pixel scale, tie points, transformation, and the keys with their numbers and texts: tag -> type."""


class Tag(NamedTuple):
    """One tag: its number, type and values."""

    number: int
    kind: str
    values: tuple[float | int, ...] | str


def tags(path: str | Path) -> tuple[Tag, ...]:
    """Return the georeference of a file, or () if the file has none or is not a TIFF."""
    with opened(path) as file:
        if file.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return ()
        file.seek(0)
        try:
            first = tiff_directories(file)[0]
            return tuple(Tag(number, kind, _values(first[number])) for number, kind in TAGS.items() if number in first)
        except FAILURES as error:
            raise UserError(f"{shown(path)} is damaged: {shown(error)}. Replace it or take it out of the data.") from error


def write(path: str | Path, label: UInt8[np.ndarray, "h w"], georeference: tuple[Tag, ...]) -> None:
    """Write a label as an 8-bit TIFF with a georeference and deflate compression."""
    import tifffile

    extra = [(tag.number, tag.kind, 0 if tag.kind == "s" else len(tag.values), tag.values, True) for tag in georeference]
    tifffile.imwrite(path, label, compression="zlib", photometric="minisblack", metadata=None, extratags=extra)


def _values(value: Any) -> tuple[float | int, ...] | str:
    return value if isinstance(value, str) else tuple(value) if isinstance(value, tuple | list) else (value,)
