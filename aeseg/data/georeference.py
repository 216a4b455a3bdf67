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


_RASTER_TYPE, _IS_POINT = 1025, 2
"""GTRasterTypeGeoKey, and its value RasterPixelIsPoint."""


class Tag(NamedTuple):
    """One tag: its number, type and values."""

    number: int
    kind: str
    values: tuple[float | int, ...] | str

    @property
    def as_extra(self) -> tuple[int, str, int, tuple[float | int, ...] | str, bool]:
        """Return the tag as tifffile's `extratags` take it."""
        return self.number, self.kind, 0 if self.kind == "s" else len(self.values), self.values, True


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

    extra = [tag.as_extra for tag in georeference]
    tifffile.imwrite(path, label, compression="zlib", photometric="minisblack", metadata=None, extratags=extra)


def enlarged(georeference: tuple[Tag, ...], factor: int) -> tuple[Tag, ...]:
    """Return the tags of the same area with pixels `factor` times smaller (GeoTIFF 1.1, section 7.1.2); other tags stay.

    Raster coordinates count from the corner of the first pixel, or, if GTRasterTypeGeoKey says so, from its centre.
    """
    keys = next((tag.values for tag in georeference if tag.number == 34735), ())
    entries = [tuple(keys[start : start + 4]) for start in range(4, len(keys), 4)]
    shift = (factor - 1) / 2 if (_RASTER_TYPE, 0, 1, _IS_POINT) in entries else 0.0  # a point's coordinate r becomes factor * r + shift
    return tuple(tag._replace(values=_enlarged(tag, factor, shift)) for tag in georeference)


def _enlarged(tag: Tag, factor: int, shift: float) -> tuple[float | int, ...] | str:
    values: Any = tag.values
    if tag.number == 33550:
        return (values[0] / factor, values[1] / factor, *values[2:])
    if tag.number == 33922:
        points = [values[start : start + 6] for start in range(0, len(values), 6)]
        return tuple(number for i, j, *rest in points for number in (factor * i + shift, factor * j + shift, *rest))
    if tag.number == 34264:
        rows = [values[start : start + 4] for start in range(0, len(values), 4)]
        return tuple(number for a, b, c, d in rows for number in (a / factor, b / factor, c, d - (a + b) * shift / factor))
    return values


def _values(value: Any) -> tuple[float | int, ...] | str:
    return value if isinstance(value, str) else tuple(value) if isinstance(value, tuple | list) else (value,)
