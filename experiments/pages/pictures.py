"""Pictures inside a page: small files as data URLs."""

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from aeseg.inference import draw
from aeseg.types import IGNORE, Class

SIDE = 448
"""Longer side of a picture, in pixels."""
BRIGHT = (255, 138, 61)
"""Colour of a class that is white in the data, because white is hard to see on images."""
WRONG = (235, 52, 52)


class Layers(NamedTuple):
    """An image and its maps as data URLs, and its size."""

    image: str
    truth: str
    prediction: str
    errors: str
    height: int
    width: int

    @property
    def bytes(self) -> int:
        """Return the size of the layers in a page."""
        return sum(map(len, (self.image, self.truth, self.prediction, self.errors)))


def layers(image: np.ndarray, label: np.ndarray, prediction: np.ndarray, classes: Sequence[Class], side: int = SIDE) -> Layers:
    """Return a segmentation as layers: classes in their colours, errors red; ignored pixels and a black first class are transparent."""
    size = fitted(image.shape[:2], side)
    wrong = np.where((label != prediction) & (label != IGNORE), 1, 0).astype(np.uint8)
    colours = shown_colours(classes)
    maps = [indexed(_nearest(ids, size), colours) for ids in (label, np.where(label == IGNORE, IGNORE, prediction))]
    return Layers(photo(image, side), *maps, indexed(_nearest(wrong, size), [None, WRONG]), *size)


def shown_colours(classes: Sequence[Class]) -> list[tuple[int, int, int] | None]:
    """Return the colour of each class on an image: None (transparent) for a black first class, BRIGHT for white classes."""
    colours: list[tuple[int, int, int] | None] = []
    for number, colour in enumerate(draw.palette(classes)[: len(classes)].tolist()):
        plain = (int(colour[0]), int(colour[1]), int(colour[2]))
        colours.append(None if max(plain) < 12 and number == 0 else BRIGHT if min(plain) > 240 else plain)
    return colours


def photo(image: np.ndarray, side: int = SIDE) -> str:
    """Return an image as WebP, at most `side` pixels long; small images are lossless."""
    h, w = fitted(image.shape[:2], side)
    picture = Image.fromarray(draw.as_rgb(image))
    if picture.size != (w, h):
        picture = picture.resize((w, h), Image.Resampling.LANCZOS)
    return _address(picture, "webp", lossless=h * w <= 64 * 64, quality=78, method=4)


def indexed(ids: np.ndarray, colours: Sequence[tuple[int, int, int] | None]) -> str:
    """Return a map as a palette PNG; ids whose colour is None, and ids beyond the colours, are transparent."""
    clear = len(colours)
    ids = np.where(ids < len(colours), ids, clear).astype(np.uint8)
    opaque = [number for number, colour in enumerate(colours) if colour is not None]
    picture = Image.fromarray(ids)
    picture.putpalette([value for colour in (*colours, None) for value in (colour or (0, 0, 0))])
    alpha = bytes(255 if number in opaque else 0 for number in range(clear + 1))
    return _address(picture, "png", transparency=alpha, optimize=True)


def fitted(size: Sequence[int], side: int) -> tuple[int, int]:
    """Return (height, width), shrunk so that neither is longer than `side`."""
    factor = min(1.0, side / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def file(path: str) -> str:
    """Return a picture file as a data URL, unchanged."""
    kind = {"jpg": "jpeg"}.get(path.rpartition(".")[2].lower(), path.rpartition(".")[2].lower())
    with open(path, "rb") as opened:
        return f"data:image/{kind};base64,{base64.b64encode(opened.read()).decode()}"


def _nearest(ids: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    small = np.clip(ids, 0, IGNORE).astype(np.uint8)
    return small if small.shape == size else np.asarray(Image.fromarray(small).resize(size[::-1], Image.Resampling.NEAREST))


def _address(picture: Image.Image, kind: str, **how: object) -> str:
    stream = io.BytesIO()
    picture.save(stream, kind, **how)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
