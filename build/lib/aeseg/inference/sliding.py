"""Sliding-window prediction: images of any size, by a network trained at one size."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from aeseg.types import UserError

Predict = Callable[[Shaped[np.ndarray, "b h w c"]], Float[np.ndarray, "b h w k"]]


def sliding_logits(
    predict: Predict,
    image: Shaped[np.ndarray, "h w c"],
    window: tuple[int, int],
    stride: tuple[int, int] = (0, 0),
    batch: int = 1,
    weights: str = "uniform",
) -> Float[np.ndarray, "h w k"]:
    """Predict one image in overlapping windows; each pixel is the weighted mean over the windows that contain it.

    Logits are averaged, not probabilities, as in mmsegmentation's slide mode and nnU-Net. An image of the window's size gives
    exactly `predict(image)`. See `sliding` for the arguments; `predict` gets `batch` windows per call.
    """
    return next(sliding(predict, [image], window, stride, batch, weights))


def sliding(
    predict: Predict,
    images: Iterable[Shaped[np.ndarray, "_ _ c"]],
    window: tuple[int, int],
    stride: tuple[int, int] = (0, 0),
    batch: int = 1,
    weights: str = "uniform",
) -> Iterator[Float[np.ndarray, "_ _ k"]]:
    """Yield the `sliding_logits` of each image, in order. A batch mixes windows of several images, so that it is full.

    stride   step between windows; 0 is two thirds of the window
    batch    windows per call of `predict`; the last batch is padded with zeros
    weights  of the pixels of a window: "uniform", or "gaussian" (Isensee et al. 2021, nnU-Net: standard deviation window / 8),
             which favours the centre of a window

    Every call of `predict` has the shape [batch *window c], so one compilation serves images of all sizes. An image smaller than
    the window is padded by reflection, and its logits are cropped. In a larger image, the last window of a row or column is moved
    back to the edge. Deviations from nnU-Net's code: Gaussian weights have a minimum of a thousandth of the largest, which applies
    to a third of them (nnU-Net raises only zeros, to the smallest other weight); the centre of an even window lies between its
    pixels (nnU-Net: on the pixel after it).
    """
    default = two_thirds(window)
    stride = (stride[0] or default[0], stride[1] or default[1])
    if batch < 1 or any(not 1 <= step <= size for step, size in zip(stride, window, strict=True)):
        raise UserError(
            f"Sliding windows of {window} need a batch of at least 1 and a stride between 1 and the window; "
            f"got batch {batch} and stride {stride}. Set a smaller stride, or 0 for two thirds of the window."
        )
    weight = _weight(window, weights)
    open_images: deque[_Sum] = deque()
    pending: list[tuple[_Sum, tuple[int, int], np.ndarray]] = []

    def flush() -> None:
        pieces = np.stack([piece for _, _, piece in pending])
        padding = np.zeros((batch - len(pending), *pieces.shape[1:]), pieces.dtype)
        logits = np.asarray(predict(np.concatenate([pieces, padding])), np.float32)
        for (one, corner, _), values in zip(pending, logits, strict=False):  # skips the logits of the padding
            one.add(corner, values, weight)
        pending.clear()

    for image in itertools.chain(images, [None]):
        if image is not None:
            padded = _padded(image, window)
            corners = [
                (y, x) for y in _starts(padded.shape[0], window[0], stride[0]) for x in _starts(padded.shape[1], window[1], stride[1])
            ]
            open_images.append(_Sum(image.shape[:2], padded.shape[:2], len(corners)))
            for y, x in corners:
                pending.append((open_images[-1], (y, x), padded[y : y + window[0], x : x + window[1]]))
                if len(pending) == batch:
                    flush()
        elif pending:
            flush()
        while open_images and open_images[0].missing == 0:
            yield open_images.popleft().mean()


def two_thirds(window: tuple[int, int]) -> tuple[int, int]:
    """Return the default stride: two thirds of the window, at least 1.

    >>> two_thirds((96, 64))
    (64, 43)
    """
    h, w = (max(1, round(size * 2 / 3)) for size in window)
    return h, w


class _Sum:
    """Running sum of the logits of one image, in float32 on the host."""

    def __init__(self, size: tuple[int, ...], padded: tuple[int, ...], windows: int):
        self.size, self.padded, self.windows, self.missing = size, padded, windows, windows
        self.total = self.weight = np.zeros(())

    def add(self, corner: tuple[int, int], logits: np.ndarray, weight: np.ndarray) -> None:
        self.missing -= 1
        if self.windows == 1:  # no division: exactly the result of predict
            self.total, self.weight = logits, np.ones((*logits.shape[:2], 1), np.float32)
            return
        if self.total.ndim == 0:
            self.total = np.zeros((*self.padded, logits.shape[-1]), np.float32)
            self.weight = np.zeros((*self.padded, 1), np.float32)
        area = tuple(slice(start, start + extent) for start, extent in zip(corner, logits.shape[:2], strict=True))
        self.total[area] += logits * weight
        self.weight[area] += weight

    def mean(self) -> np.ndarray:
        h, w = self.size
        return self.total[:h, :w] if self.windows == 1 else self.total[:h, :w] / self.weight[:h, :w]


def _starts(size: int, window: int, stride: int) -> list[int]:
    """Return the starts of the windows along one axis; the last window ends at the edge."""
    return [*range(0, size - window, stride), size - window]


def _padded(image: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    """Pad an image by reflection at the bottom and right, to at least the size of the window."""
    missing = [(0, max(0, extent - size)) for extent, size in zip(window, image.shape, strict=False)]
    if not any(after for _, after in missing):
        return image
    mode: Any = "reflect" if min(image.shape[:2]) > 1 else "edge"  # one pixel cannot be reflected
    return np.pad(image, [*missing, (0, 0)], mode=mode)


def _weight(window: tuple[int, int], weights: str) -> np.ndarray:
    """Return the weights of a window, float32 [h w 1], all positive."""
    if weights == "uniform":
        return np.ones((*window, 1), np.float32)
    if weights != "gaussian":
        raise UserError(f'weights is "uniform" or "gaussian"; got {weights!r}. Set it to one of these.')
    bells = [np.exp(-0.5 * np.square((np.arange(size) - (size - 1) / 2) / (size / 8))) for size in window]
    return np.maximum(np.outer(*bells), 1e-3)[..., None].astype(np.float32)
