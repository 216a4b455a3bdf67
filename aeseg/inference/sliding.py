"""Sliding-window prediction: images of any size, by a network trained at one size."""

import dataclasses
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from aeseg.inference import windows
from aeseg.inference.windows import Inputs
from aeseg.types import UserError

Predict = Callable[[Any], Float[np.ndarray, "b h w k"]]
"""Maps a batch of images [b h w c], or of `Inputs`, to logits."""

WAITING = 2**28
"""Bytes of finished logits that may wait for an earlier image; then that image's batch is predicted before it is full."""


def sliding_logits(
    predict: Predict,
    image: Inputs,
    window: tuple[int, int],
    stride: tuple[int, int] = (0, 0),
    batch: int = 1,
    weights: str = "uniform",
    largest: int = 0,
) -> Float[np.ndarray, "h w k"]:
    """Predict one image, or `Inputs`, in overlapping windows; each pixel is the weighted mean over the windows that contain it.

    Logits are averaged, not probabilities, as in mmsegmentation's slide mode and nnU-Net. An image of the window's size gives
    exactly `predict(image)`. See `sliding` for the arguments.
    """
    return next(sliding(predict, [image], window, stride, batch, weights, largest))


def sliding(
    predict: Predict,
    images: Iterable[Inputs],
    window: tuple[int, int],
    stride: tuple[int, int] = (0, 0),
    batch: int = 1,
    weights: str = "uniform",
    largest: int = 0,
) -> Iterator[Float[np.ndarray, "_ _ k"]]:
    """Yield the `sliding_logits` of each image, in order. A batch mixes windows of several images, so that it is full.

    images   images, or the `Inputs` of a network that reads several entries of a record
    stride   step between windows; 0 is two thirds of the window
    batch    windows per call of `predict`; the last batch is padded with zeros
    weights  of the pixels of a window: "uniform", or "gaussian" (Isensee et al. 2021, nnU-Net: standard deviation window / 8),
             which favours the centre of a window
    largest  pixels of the largest window: a larger image gets windows of a multiple of `window` (`windows.enlarged`), which overlap
             by as many pixels as windows of that size do; 0 keeps them at that size. For convolutional networks.

    A call of `predict` has the shape [batch *window c], or fewer and larger windows, so few compilations serve images of all sizes.
    An image smaller than its window is padded by reflection, and its logits are cropped. In a larger image, the last window of a
    row or column is moved back to the edge. Deviations from nnU-Net's code: Gaussian weights have a minimum of a thousandth of the
    largest, which applies to a third of them (nnU-Net raises only zeros, to the smallest other weight); the centre of an even window
    lies between its pixels (nnU-Net: on the pixel after it).
    """
    cut = _Cut(window, stride, batch, weights, largest)
    unfinished: deque[_Sum] = deque()
    calls: dict[tuple[int, int], _Call] = {}
    waiting = 0  # bytes of finished logits

    def done() -> Iterator[np.ndarray]:
        nonlocal waiting
        while unfinished and unfinished[0].finished:
            logits = unfinished.popleft().logits()
            waiting -= logits.nbytes
            yield logits

    for image in images:
        one = _Sum(windows.image_of(image).shape, cut)
        unfinished.append(one)
        call = calls.setdefault(one.window, _Call(predict, cut.rows(one.window), weights))
        for piece in one.pieces(image):
            waiting += call.take(one, piece)
        while waiting > WAITING and not unfinished[0].finished:
            waiting += calls[unfinished[0].window].run()
        yield from done()
    for call in calls.values():
        call.run()
    yield from done()


def strips(
    predict: Predict,
    image: Inputs,
    window: tuple[int, int],
    stride: tuple[int, int] = (0, 0),
    batch: int = 1,
    weights: str = "uniform",
    largest: int = 0,
) -> Iterator[Float[np.ndarray, "_ w k"]]:
    """Yield the `sliding_logits` of one image from top to bottom, rows by rows, for images whose logits do not fit memory."""
    cut = _Cut(window, stride, batch, weights, largest)
    one = _Sum(windows.image_of(image).shape, cut)
    call = _Call(predict, cut.rows(one.window), weights)
    for piece in one.pieces(image):
        call.take(one, piece)
        yield from one.released()
    call.run()
    yield from one.released()


@dataclasses.dataclass(frozen=True)
class _Cut:
    """The cut of images into windows, with the arguments of `sliding`."""

    window: tuple[int, int]
    stride: tuple[int, int]
    batch: int
    weights: str
    largest: int

    def __post_init__(self) -> None:
        default = windows.two_thirds(self.window)
        stride = (self.stride[0] or default[0], self.stride[1] or default[1])
        if self.batch < 1 or any(not 1 <= step <= size for step, size in zip(stride, self.window, strict=True)):
            raise UserError(
                f"Sliding windows of {self.window} need a batch of at least 1 and a stride between 1 and the window; "
                f"got batch {self.batch} and stride {stride}. Set a smaller stride, or 0 for two thirds of the window."
            )
        object.__setattr__(self, "stride", stride)
        windows.weight(self.window, self.weights)

    def of(self, size: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the window and the stride for an image."""
        h, w = windows.enlarged(size, self.window, self.largest, self.stride)
        return (h, w), (h - self.window[0] + self.stride[0], w - self.window[1] + self.stride[1])

    def rows(self, window: tuple[int, int]) -> int:
        """Return the number of these windows per call: about as many pixels as `batch` windows of the trained size."""
        return max(1, self.batch * math.prod(self.window) // math.prod(window))


class _Call:
    """Windows of one size that wait for a full batch, each with its image's sum."""

    def __init__(self, predict: Predict, rows: int, weights: str):
        self.predict, self.rows, self.weights = predict, rows, weights
        self.pending: list[tuple[_Sum, Inputs]] = []

    def take(self, one: "_Sum", piece: Inputs) -> int:
        """Add a window; return the bytes of the logits of the images that it completes."""
        self.pending.append((one, piece))
        return self.run() if len(self.pending) == self.rows else 0

    def run(self) -> int:
        if not self.pending:
            return 0
        pieces = jax.tree.map(self._batch, *[piece for _, piece in self.pending])
        logits = np.asarray(self.predict(pieces), np.float32)
        weight = windows.weight(windows.image_of(pieces).shape[1:3], self.weights)  # type: ignore[arg-type]
        finished = 0
        for (one, _), values in zip(self.pending, logits, strict=False):  # skips the logits of the padding
            one.add(values, weight)
            finished += one.bytes if one.finished else 0
        self.pending.clear()
        return finished

    def _batch(self, *pieces: np.ndarray) -> np.ndarray:
        """Stack the pieces, padded with zeros to the call's rows."""
        return np.concatenate([np.stack(pieces), np.zeros((self.rows - len(pieces), *pieces[0].shape), pieces[0].dtype)])


class _Sum:
    """Running sum of the logits of one image, float32 on the host: unfinished rows, and the finished rows above them."""

    def __init__(self, shape: tuple[int, ...], cut: _Cut):
        self.size = shape[:2]
        self.window, stride = cut.of(shape[:2])
        self.padded = [max(side, extent) for side, extent in zip(self.size, self.window, strict=True)]
        self.tops, self.lefts = (windows.starts(*axis) for axis in zip(self.padded, self.window, stride, strict=True))
        self.corners = list(itertools.product(range(len(self.tops)), self.lefts))
        self.added, self.rows, self.bytes = 0, 0, 0
        self.total = self.weight = np.zeros(())
        self.bands: list[np.ndarray] = []

    @property
    def finished(self) -> bool:
        return self.added == len(self.corners)

    def pieces(self, image: Inputs) -> Iterator[Inputs]:
        """Yield the windows of the image, row by row."""
        (h, w), whole = self.window, windows.each_aligned(lambda array: windows.padded(array, self.window), image)
        for row, x in self.corners:
            area = slice(self.tops[row], self.tops[row] + h), slice(x, x + w)
            yield windows.each_aligned(lambda array, area=area: array[area], whole)  # type: ignore[misc]

    def add(self, logits: np.ndarray, weight: np.ndarray) -> None:
        """Add the logits of the next window."""
        row, x = self.corners[self.added]
        self.added += 1
        if len(self.corners) == 1:  # no division: exactly the result of predict
            self._finish(logits)
            return
        if self.total.ndim == 0:
            self.total = np.zeros((self.window[0], self.padded[1], logits.shape[-1]), np.float32)
            self.weight = np.zeros((*self.total.shape[:2], 1), np.float32)
        area = slice(x, x + self.window[1])
        self.total[:, area] += logits * weight
        self.weight[:, area] += weight
        if x == self.lefts[-1]:
            following = self.tops[row + 1] if row + 1 < len(self.tops) else self.padded[0]
            self._scroll(following - self.tops[row])

    def released(self) -> Iterator[np.ndarray]:
        """Yield the finished rows and free them."""
        while self.bands:
            yield self.bands.pop(0)

    def logits(self) -> np.ndarray:
        """Return all logits, once finished."""
        return self.bands[0] if len(self.bands) == 1 else np.concatenate(self.bands)

    def _scroll(self, rows: int) -> None:
        """Finish the first `rows` rows, and move the rows below them up."""
        self._finish(self.total[:rows] / self.weight[:rows])
        for array in (self.total, self.weight):
            array[: len(array) - rows] = array[rows:]
            array[len(array) - rows :] = 0

    def _finish(self, rows: np.ndarray) -> None:
        h, w = self.size
        self.bands.append(rows[: h - self.rows, :w])
        self.rows += len(self.bands[-1])
        self.bytes += self.bands[-1].nbytes
