"""The windows that cover an image: their size, where they lie, and the weights of their pixels."""

import functools
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from aeseg.types import UserError

FACTORS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32)
"""How many times as high or as wide as the trained window a larger one can be: few, so that few shapes are compiled."""


def enlarged(size: tuple[int, ...], window: tuple[int, int], largest: int) -> tuple[int, int]:
    """Return the window for an image of `size` (h, w): the smallest multiple of `window` that covers it, of at most `largest` pixels.

    If `largest` is exceeded, the axis with the larger factor takes the next smaller one until the window fits; at the least it is
    `window` itself. A function of the image's size only, so that an image is predicted alike in any batch.

    >>> enlarged((520, 696), (128, 128), 2**20), enlarged((5000, 300), (128, 128), 2**20), enlarged((5000, 300), (128, 128), 0)
    ((640, 768), (2560, 384), (128, 128))
    """
    places = [
        next((i for i, f in enumerate(FACTORS) if f * extent >= side), len(FACTORS) - 1) for side, extent in zip(size, window, strict=False)
    ]
    while any(places) and np.prod([FACTORS[i] * extent for i, extent in zip(places, window, strict=True)]) > largest:
        places[int(np.argmax(places))] -= 1
    h, w = (FACTORS[i] * extent for i, extent in zip(places, window, strict=True))
    return h, w


def two_thirds(window: tuple[int, int]) -> tuple[int, int]:
    """Return the default stride: two thirds of the window, at least 1.

    >>> two_thirds((96, 64))
    (64, 43)
    """
    h, w = (max(1, round(size * 2 / 3)) for size in window)
    return h, w


def starts(size: int, window: int, stride: int) -> list[int]:
    """Return the starts of the windows along one axis; the last window ends at the edge."""
    return [*range(0, size - window, stride), size - window]


def padded(image: Shaped[np.ndarray, "_ _ c"], window: tuple[int, int]) -> Shaped[np.ndarray, "h w c"]:
    """Pad an image by reflection at the bottom and right, to at least the size of the window."""
    missing = [(0, max(0, extent - size)) for extent, size in zip(window, image.shape, strict=False)]
    if not any(after for _, after in missing):
        return image
    mode: Any = "reflect" if min(image.shape[:2]) > 1 else "edge"  # one pixel cannot be reflected
    return np.pad(image, [*missing, (0, 0)], mode=mode)


@functools.lru_cache(maxsize=16)
def weight(window: tuple[int, int], weights: str) -> Float[np.ndarray, "h w 1"]:
    """Return the weights of a window's pixels, all positive; see `sliding`."""
    if weights == "uniform":
        return np.ones((*window, 1), np.float32)
    if weights != "gaussian":
        raise UserError(f'weights is "uniform" or "gaussian"; got {weights!r}. Set it to one of these.')
    bells = [np.exp(-0.5 * np.square((np.arange(size) - (size - 1) / 2) / (size / 8))) for size in window]
    return np.maximum(np.outer(*bells), 1e-3)[..., None].astype(np.float32)
