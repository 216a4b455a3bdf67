"""Windows that cover an image: their size, their positions, and the weights of their pixels."""

import functools
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from aeseg.data.records import is_aligned
from aeseg.types import UserError

Inputs = np.ndarray | Mapping[str, np.ndarray]
"""What a network reads: an image, or entries of a record, of which the aligned ones are cut into windows with the image."""

FACTORS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32)
"""Factors by which a larger window may exceed the trained window in height or width; few, so that few shapes are compiled."""

SLACK = 1.2
"""Largest ratio of the predicted pixels to the fewest possible, allowed for larger windows."""


def enlarged(size: tuple[int, ...], window: tuple[int, int], largest: int, stride: tuple[int, int] = (0, 0)) -> tuple[int, int]:
    """Return the window for an image of `size` (h, w): a multiple of `window` along each axis, of at most `largest` pixels.

    It is the largest window that covers the image with at most `SLACK` times the fewest pixels, overlaps and padding included, and at
    least `window`. It depends only on the image's size, so that an image's prediction does not depend on its batch.

    >>> enlarged((520, 696), (128, 128), 2**20), enlarged((1040, 1388), (128, 128), 2**20), enlarged((5000, 300), (128, 128), 0)
    ((640, 768), (1280, 768), (128, 128))
    """
    steps = [step or default for step, default in zip(stride, two_thirds(window), strict=True)]
    shared = [extent - step for extent, step in zip(window, steps, strict=True)]  # pixels that neighbouring windows share
    axes = [_covers(*axis) for axis in zip(size, window, shared, strict=False)]
    pairs = [(h * w, tall * wide, (h, w)) for (h, tall), (w, wide) in itertools.product(*axes) if h * w <= max(largest, math.prod(window))]
    fewest = min(total for _, total, _ in pairs)
    return max((area, sides) for area, total, sides in pairs if total <= SLACK * fewest)[1]


def _covers(side: int, extent: int, shared: int) -> list[tuple[int, int]]:
    """Return (length of a window, pixels of all windows) along an axis, for each factor up to the first that covers it."""
    covers = []
    for factor in FACTORS:
        length = factor * extent
        covers.append((length, len(starts(max(side, length), length, length - shared)) * length))
        if length >= side:
            break
    return covers


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


def image_of(inputs: Inputs) -> np.ndarray:
    """Return the image among the inputs."""
    return inputs if isinstance(inputs, np.ndarray) else inputs["image"]


def each_aligned(change: Callable[[np.ndarray], np.ndarray], inputs: Inputs) -> Inputs:
    """Apply `change` to the image, and to all that is aligned with it."""
    if isinstance(inputs, np.ndarray):
        return change(inputs)
    return {key: change(value) if is_aligned(key, value) else value for key, value in inputs.items()}


def padded(image: Shaped[np.ndarray, "_ _ *c"], window: tuple[int, int]) -> Shaped[np.ndarray, "h w *c"]:
    """Pad an image by reflection at the bottom and right, to at least the size of the window."""
    missing = [(0, max(0, extent - size)) for extent, size in zip(window, image.shape, strict=False)]
    if not any(after for _, after in missing):
        return image
    mode: Any = "reflect" if min(image.shape[:2]) > 1 else "edge"  # one pixel cannot be reflected
    return np.pad(image, [*missing, *((0, 0),) * (image.ndim - 2)], mode=mode)


@functools.lru_cache(maxsize=16)
def weight(window: tuple[int, int], weights: str) -> Float[np.ndarray, "h w 1"]:
    """Return the weights of a window's pixels, all positive; see `sliding`."""
    if weights == "uniform":
        return np.ones((*window, 1), np.float32)
    if weights != "gaussian":
        raise UserError(f'weights is "uniform" or "gaussian"; got {weights!r}. Set it to one of these.')
    bells = [np.exp(-0.5 * np.square((np.arange(size) - (size - 1) / 2) / (size / 8))) for size in window]
    return np.maximum(np.outer(*bells), 1e-3)[..., None].astype(np.float32)
