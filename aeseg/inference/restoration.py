"""Restore images of any size by a network that removes noise; degrade clean images to measure it."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Shaped

from aeseg import checks, images, noises
from aeseg.inference import sliding
from aeseg.inference.views import checked
from aeseg.types import UserError

Noise = tuple[noises.Noise, ...]

REMEDY = "Cut the image into tiles."


class Degraded(NamedTuple):
    """An image to restore, uint8 or uint16, and the pixels to fill in, for a task that fills (inpaint)."""

    image: Shaped[np.ndarray, "h w c"]
    hidden: Bool[np.ndarray, "h w"] | None = None


def factor(noise: Noise) -> int:
    """Return how many times larger the restored image is along each axis."""
    return next((each.factor for each in noise if isinstance(each, noises.Downsampled)), 1)


def fitting(image: Shaped[np.ndarray, "_ _ c"], noise: Noise) -> Shaped[np.ndarray, "h w c"]:
    """Return a clean image without the last rows and columns that `degraded` cannot shrink evenly."""
    h, w = (side - side % factor(noise) for side in image.shape[:2])
    return image[:h, :w]


def degraded(image: Shaped[np.ndarray, "h w c"], noise: Noise, seed: int, index: int) -> Degraded:
    """Degrade a clean image by the noise, as files hold it: rounded to 8 bits; small, for a network that enlarges.

    The random numbers depend on `seed` and `index` only. Holes are those of `Squares`, without the other noises.
    """
    key = jax.random.fold_in(jax.random.key(seed), index)
    if holes := [each for each in noise if isinstance(each, noises.Squares)]:
        hidden = np.asarray(holes[0].hidden(key, *image.shape[:2]))
        return Degraded(np.where(hidden[..., None], 0, _in_bits(image, np.uint8)), hidden)
    return Degraded(_in_bits(np.asarray(_degrade(noise, key, image)), np.uint8))


@functools.partial(jax.jit, static_argnums=0)
def _degrade(noise: Noise, key: Any, image: Any) -> Any:
    values = images.as_float(image)
    if shrinks := [each for each in noise if isinstance(each, noises.Downsampled)]:
        return shrinks[0].small(values)
    return noises.corrupted(noise, key[None], values[None])[0]


def inputs(one: Degraded, noise: Noise) -> Shaped[np.ndarray, "_ _ c"]:
    """Return what the network reads: the image, with holes at the value of `Squares`, or enlarged."""
    if holes := [each for each in noise if isinstance(each, noises.Squares)]:
        if one.hidden is None:
            raise UserError("Expected the pixels to fill in; got an image alone. Set --masks to a folder of masks.")
        return np.where(one.hidden[..., None], np.float32(holes[0].fill), _unit(one.image))
    if factor(noise) > 1:
        h, w, c = one.image.shape
        checks.check_memory(16 * factor(noise) ** 2 * h * w * c, f"An enlarged image of {h}x{w}", REMEDY)
        return np.asarray(_enlarge(factor(noise), one.image))
    return one.image


@functools.partial(jax.jit, static_argnums=0)
def _enlarge(times: int, image: Any) -> Any:
    return noises.Downsampled(times).enlarged(images.as_float(image))


def restored(
    predict: sliding.Predict,
    one: Degraded,
    noise: Noise,
    name: str = "an image",
    at: Callable[[float], None] = lambda fraction: None,
    **windows: Any,
) -> Shaped[np.ndarray, "h w c"]:
    """Restore an image by a network that removes `noise`, in windows (see `sliding.sliding` for `windows`), in the image's bits.

    Of an image with holes, only the holes change. Calls `at(fraction)` after each strip.
    """
    seen = inputs(one, noise)
    result, top = np.empty(seen.shape, one.image.dtype), 0
    for values in sliding.strips(predict, seen, **windows):
        result[top : top + len(values)] = _in_bits(checked(values, name), one.image.dtype)
        top += len(values)
        at(top / len(result))
    return result if one.hidden is None else np.where(one.hidden[..., None], result, one.image)


def difference(one: Shaped[np.ndarray, "h w c"], other: Shaped[np.ndarray, "h w c"]) -> Float[np.ndarray, "h w"]:
    """Return the mean over channels of the absolute difference of two images, in [0, 1]."""
    return np.abs(_unit(one) - _unit(other)).mean(axis=-1)


def _in_bits(values: Shaped[np.ndarray, "*n"], dtype: Any) -> Shaped[np.ndarray, "*n"]:
    """Return values in [0, 1], clipped, or an image of other bits, as uint8 or uint16."""
    if values.dtype == dtype:
        return values
    return np.rint(np.clip(_unit(values), 0, 1) * np.iinfo(dtype).max).astype(dtype)


def _unit(values: Shaped[np.ndarray, "*n"]) -> Shaped[np.ndarray, "*n"]:
    """Return an image in [0, 1]; floats are there already."""
    if values.dtype.kind == "f":
        return values
    return values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max)
