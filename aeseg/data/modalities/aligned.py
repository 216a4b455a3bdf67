"""Planes aligned with the image (thermal, depth, near infrared): one folder each, one file for each image."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from aeseg.data import decode
from aeseg.data.files import IMAGES, shown
from aeseg.data.images import check_size
from aeseg.data.matching import Files
from aeseg.data.modalities import matching
from aeseg.data.modalities.matching import Stems
from aeseg.data.reading import Reading, turned
from aeseg.types import UserError

RESERVED = ("image", "label", "name", "valid", "index", "caption", "sound")
"""Entries of records and batches that have another meaning."""


@dataclass(frozen=True)
class Aligned:
    """Planes [h w] or [h w c] of the image's size, with their stored values: uint8, uint16, or float32 for all other numbers.

    All files of the folder have the channels and the number type of its first file.  Alpha is dropped, and palettes become RGB.
    """

    root: str
    key: str
    files: Mapping[str, str]
    first: str
    reading: Reading
    notes: tuple[str, ...] = ()

    def read(self, files: Files, image: np.ndarray) -> dict[str, Any]:
        path = self.files.get(files.name, "")
        channels, dtype = self._kind
        planes = np.zeros((*image.shape[:2], *channels), dtype)
        if path:
            planes = self._planes(path)
            check_size(self.root, self.reading, files.image, image, path, planes)
            if (planes.shape[2:], planes.dtype) != self._kind:
                raise UserError(
                    f"{shown(path)} has planes of {_said(planes.shape[2:], planes.dtype)}, and {shown(self.first)} of "
                    f"{_said(channels, dtype)}; expected one kind of file in a folder. Convert one of them."
                )
        return {self.key: planes, f"has_{self.key}": np.array(bool(path))}

    @property
    def channels(self) -> int:
        """Return the number of planes; reads the first file."""
        return self._kind[0][0] if self._kind[0] else 1

    @property
    def kind(self) -> str:
        """Return the number of planes and the type of their values, such as "1 x uint8"; reads the first file."""
        return _said(*self._kind)

    @cached_property
    def _kind(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        planes = self._planes(self.first)
        return planes.shape[2:], planes.dtype

    def _planes(self, file: str) -> Shaped[np.ndarray, "h w *c"]:
        path = Path(self.root, file)
        head = decode.header(path)
        pixels = turned(decode.raw(path, reading=self.reading), head, self.reading, str(path))
        pixels = pixels[..., :-1] if head.alpha else pixels
        if pixels.dtype == bool:
            pixels = np.where(pixels, 255, 0).astype(np.uint8)
        if pixels.dtype not in (np.uint8, np.uint16):
            if wrong := np.count_nonzero(~np.isfinite(pixels)):
                raise UserError(f"{shown(path)} has {wrong:,} values that are not finite (NaN or infinity). Fill them, or take it out.")
            pixels = pixels.astype(np.float32)
        return np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def reader(root: str, described: str, stems: Stems, reading: Reading, complete: bool = True) -> Aligned:
    """Return the reader of a folder: "thermal", or with another name in the records, "thermal=sensors/t"."""
    key, _, folder = described.rpartition("=")
    key = key or Path(folder).name
    if not key.isidentifier() or key in RESERVED or key.startswith("has_"):
        raise UserError(
            f"aligned names folders by words other than {', '.join(RESERVED)} and has_...; got {shown(described)!r}. Write it as "
            "name=folder, such as thermal=sensors/t."
        )
    matches = matching.of_folder(root, folder, "aligned", IMAGES, stems, complete)
    return Aligned(root, key, matches.of, matches.first, reading, matches.notes)


def _said(channels: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    return f"{channels[0] if channels else 1} x {dtype}"
