"""Test-time augmentation: average the predictions of several views of an image."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float

from aeseg.data import transforms
from aeseg.inference.windows import Inputs
from aeseg.types import UserError

Slide = Callable[[Iterable[Any]], Iterator[np.ndarray]]
"""Maps images [h w c] of any size, or `Inputs`, to their logits [h w k], in order; `sliding` with a network."""


def averaged(
    slide: Slide, images: Iterable[Inputs], scales: Sequence[float] = (1.0,), flip: bool = False, further: int = 0
) -> Iterator[Float[np.ndarray, "_ _ k"]]:
    """Yield the log of each image's mean softmax over its views: each of `scales`, and with `flip` each mirrored (mmsegmentation's TTA).

    Images are scaled down by area interpolation and up bilinearly; probabilities are resized back bilinearly. `slide` gets the views
    of all images in one stream, so that its batches are full. With scale 1 and no flip, the logits pass unchanged. The last
    `further` planes from `slide` are not logits (but an uncertainty, see `samples.sampled`): they are averaged without a softmax.
    """
    if not scales or not all(0 < scale < math.inf for scale in scales):
        raise UserError(f"Views need one or more scales, each above 0; got {tuple(scales)}. Give (1.0,) for the image's own size.")
    views = [(scale, mirrored) for scale in scales for mirrored in (False, True)[: 1 + flip]]
    if views == [(1, False)]:
        yield from slide(images)
        return
    sizes: deque[tuple[int, ...]] = deque()

    def viewed() -> Iterator[np.ndarray]:
        for image in images:
            if not isinstance(image, np.ndarray):
                raise UserError(
                    f"Views are of images alone; this network also reads {', '.join(key for key in image if key != 'image')}. Leave out "
                    "--scales and --flip."
                )
            sizes.append(image.shape[:2])
            for scale, mirrored in views:
                scaled = transforms.resized({"image": image}, *(max(1, round(scale * size)) for size in image.shape[:2]))["image"]
                yield scaled[:, ::-1] if mirrored else scaled

    for number, logits in enumerate(slide(viewed())):
        view, classes = number % len(views), logits.shape[-1] - further
        if view == 0:
            size = sizes.popleft()
            total = np.zeros((*size, logits.shape[-1]), np.float32)
        values = resized(np.concatenate([softmax(logits[..., :classes]), logits[..., classes:]], axis=-1), size)
        total += values[:, ::-1] if views[view][1] else values
        if view == len(views) - 1:
            mean = total / len(views)
            mean[..., :classes] = np.log(np.maximum(mean[..., :classes], np.finfo(np.float32).tiny))
            yield mean


def checked(values: Float[np.ndarray, "_ _ k"], name: str) -> Float[np.ndarray, "_ _ k"]:
    """Return `values`, the output for the image `name`; UserError if any is NaN or infinite, since argmax would still pick a class."""
    if wrong := int(np.sum(~np.isfinite(values))):
        raise UserError(
            f"Expected numbers for every pixel of {name}; {wrong:,} of the network's {values.size:,} values are NaN or infinite. "
            "Use an earlier checkpoint with --step, or retrain with a lower learning rate or in float32."
        )
    return values


def softmax(logits: Float[np.ndarray, "h w k"]) -> Float[np.ndarray, "h w k"]:
    """Return the class probabilities, on the host."""
    with np.errstate(invalid="ignore"):  # infinities give NaN, which `checked` rejects
        values = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return values / values.sum(axis=-1, keepdims=True)


def resized(array: Float[np.ndarray, "_ _ k"], size: tuple[int, ...]) -> Float[np.ndarray, "h w k"]:
    """Resize to `size` (h, w): bilinear, half-pixel centres; plane by plane, since OpenCV allows at most 512 channels."""
    if array.shape[:2] == tuple(size):
        return array
    planes = (np.ascontiguousarray(array[..., index], np.float32) for index in range(array.shape[-1]))
    return np.stack([cv2.resize(plane, (size[1], size[0]), interpolation=cv2.INTER_LINEAR) for plane in planes], axis=-1)
