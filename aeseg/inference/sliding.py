"""Dense predictions for images of any size, by a network that was trained at one size."""

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
    """`predict` over overlapping windows of one image: each pixel's weighted mean of the windows that hold it.

    Logits are averaged, not probabilities: so an image of the window's size gives exactly `predict(image)`, and the
    numbers compare with those of other segmentation code (mmsegmentation's slide mode, nnU-Net), which do the same.
    See `sliding` for the arguments; `predict` sees `batch` windows a call.
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
    """`sliding_logits` of each image, in order.  A batch holds windows of several images, so that it is always full.

    Every call of `predict` has the shape [batch *window c], whatever the images' sizes: one compilation serves all; the
    last batch is filled up with zeros.  An image smaller than the window is mirrored (without its border pixel) up to it and
    the logits are cropped back; in a larger one the last window of a row or column is moved back to the border.
    `stride` is the step between windows; 0 is two thirds of the window.  `weights` of a window's pixels: "uniform", or
    "gaussian" (Isensee et al. 2021, nnU-Net: standard deviation window / 8), which trusts a window's middle more.  Deviations from
    nnU-Net's code: weights below a thousandth of the middle's, which are a third of them, along the edges, are a thousandth (there only
    zeros are raised, to the least other weight), and the middle of an even window lies between its pixels (there on the pixel behind).
    No images give no logits.
    """
    usual = two_thirds(window)
    stride = (stride[0] or usual[0], stride[1] or usual[1])
    if batch < 1 or any(not 1 <= step <= size for step, size in zip(stride, window, strict=True)):
        raise UserError(
            f"Sliding windows of {window} need a batch of at least 1 and a stride between 1 and the window, so that no pixel "
            f"is missed; got batch {batch} and stride {stride}. Set a smaller stride, or 0 for two thirds of the window."
        )
    weight = _weight(window, weights)
    open_images: deque[_Sum] = deque()
    waiting: list[tuple[_Sum, tuple[int, int], np.ndarray]] = []

    def flush() -> None:
        pieces = np.stack([piece for _, _, piece in waiting])
        filling = np.zeros((batch - len(waiting), *pieces.shape[1:]), pieces.dtype)
        logits = np.asarray(predict(np.concatenate([pieces, filling])), np.float32)
        for (one, corner, _), values in zip(waiting, logits, strict=False):  # the filling's logits are left over
            one.add(corner, values, weight)
        waiting.clear()

    for image in itertools.chain(images, [None]):
        if image is not None:
            padded = _padded(image, window)
            corners = [
                (y, x) for y in _starts(padded.shape[0], window[0], stride[0]) for x in _starts(padded.shape[1], window[1], stride[1])
            ]
            open_images.append(_Sum(image.shape[:2], padded.shape[:2], len(corners)))
            for y, x in corners:
                waiting.append((open_images[-1], (y, x), padded[y : y + window[0], x : x + window[1]]))
                if len(waiting) == batch:
                    flush()
        elif waiting:
            flush()
        while open_images and open_images[0].missing == 0:
            yield open_images.popleft().mean()


def two_thirds(window: tuple[int, int]) -> tuple[int, int]:
    """The stride where none is chosen: two thirds of the window, at least 1."""
    h, w = (max(1, round(size * 2 / 3)) for size in window)
    return h, w


class _Sum:
    """The windows' logits of one image, added up in float32 on the host."""

    def __init__(self, size: tuple[int, ...], padded: tuple[int, ...], windows: int):
        self.size, self.padded, self.windows, self.missing = size, padded, windows, windows
        self.total = self.weight = np.zeros(())

    def add(self, corner: tuple[int, int], logits: np.ndarray, weight: np.ndarray) -> None:
        self.missing -= 1
        if self.windows == 1:  # no division: exactly what predict gave
            self.total, self.weight = logits, np.ones((*logits.shape[:2], 1), np.float32)
            return
        if self.total.ndim == 0:
            self.total = np.zeros((*self.padded, logits.shape[-1]), np.float32)
            self.weight = np.zeros((*self.padded, 1), np.float32)
        place = tuple(slice(start, start + extent) for start, extent in zip(corner, logits.shape[:2], strict=True))
        self.total[place] += logits * weight
        self.weight[place] += weight

    def mean(self) -> np.ndarray:
        h, w = self.size
        return self.total[:h, :w] if self.windows == 1 else self.total[:h, :w] / self.weight[:h, :w]


def _starts(size: int, window: int, stride: int) -> list[int]:
    """Where windows begin along one axis; the last is moved back so that it ends at the border."""
    return [*range(0, size - window, stride), size - window]


def _padded(image: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    """At least the window's size: mirrored at the lower and right borders, as often as it takes."""
    missing = [(0, max(0, extent - size)) for extent, size in zip(window, image.shape, strict=False)]
    if not any(after for _, after in missing):
        return image
    mode: Any = "reflect" if min(image.shape[:2]) > 1 else "edge"  # a line of one pixel has nothing to mirror
    return np.pad(image, [*missing, (0, 0)], mode=mode)


def _weight(window: tuple[int, int], weights: str) -> np.ndarray:
    """[h w 1], float32, above zero everywhere."""
    if weights == "uniform":
        return np.ones((*window, 1), np.float32)
    if weights != "gaussian":
        raise UserError(f'Sliding windows weigh "uniform" or "gaussian"; got {weights!r}.')
    bells = [np.exp(-0.5 * np.square((np.arange(size) - (size - 1) / 2) / (size / 8))) for size in window]
    return np.maximum(np.outer(*bells), 1e-3)[..., None].astype(np.float32)
