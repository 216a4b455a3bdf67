"""Numbers about predictions.  Everything is a sum and a weight, or an integer count; each is divided exactly once."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from aeseg import images
from aeseg.types import IGNORE


class Mean(NamedTuple):
    """A mean that is not yet divided: what every objective returns.  Parts of a data set are joined with `+`."""

    total: Float[Array, ""]
    weight: Float[Array, ""]

    def __add__(self, other: "Mean") -> "Mean":  # type: ignore[override]
        return Mean(self.total + other.total, self.weight + other.weight)

    def value(self) -> Float[Array, ""]:
        """total / weight; 0 where nothing weighs."""
        return divide(self.total, self.weight)


def divide(total: Float[Array, "*n"], weight: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """total / weight, and 0 (with gradient 0) where the weight is 0."""
    return jnp.where(weight > 0, total / jnp.where(weight > 0, weight, 1), 0)


def psnr(prediction: Float[Array, "b h w c"], target: Float[Array, "b h w c"], valid: Bool[Array, "b"]) -> Mean:
    """Peak signal-to-noise ratio, -10 log10(squared error), in dB for images in [0, 1]; one number per image, then their mean.

    `prediction` is clipped to [0, 1] first, as a picture file would.  A perfect image counts 100 dB, not infinity.
    """
    error = jnp.mean(jnp.square(jnp.clip(prediction.astype(jnp.float32), 0, 1) - target), axis=(1, 2, 3))
    return _over_images(-10 * jnp.log10(jnp.maximum(error, 1e-10)), valid)


def ssim(prediction: Float[Array, "b h w c"], target: Float[Array, "b h w c"], valid: Bool[Array, "b"]) -> Mean:
    """Structural similarity (Wang et al. 2004; see `images.ssim_map`): one number per image, then their mean.

    `prediction` is clipped to [0, 1] first.
    """
    similarity = images.ssim_map(jnp.clip(prediction.astype(jnp.float32), 0, 1), target)
    return _over_images(jnp.mean(similarity, axis=(1, 2, 3)), valid)


def _over_images(each: Float[Array, "b"], valid: Bool[Array, "b"]) -> Mean:
    return Mean(jnp.sum(jnp.where(valid, each, 0)), jnp.sum(valid, dtype=jnp.int32).astype(jnp.float32))


def accuracy(logits: Float[Array, "b h w k"], label: Int[Array, "b h w"], valid: Bool[Array, "b"]) -> Mean:
    """The share of labelled pixels whose most likely class is their label, of one batch: for the log of a training step."""
    known = (label != IGNORE) & valid[:, None, None]
    right = known & (jnp.argmax(logits, axis=-1) == label)
    return Mean(*(jnp.sum(pixels, dtype=jnp.int32).astype(jnp.float32) for pixels in (right, known)))
