"""Masked ("sparse") mode of convolutional encoders: hidden positions are zero after every layer and do not affect others.

The output of a layer with `hidden` [b i j] (True at hidden units of an image) is zero at hidden positions. Units are at least as
large as the coarsest stride, so that every position is either hidden or visible. `hidden=None` hides nothing and adds no
computation. A dense convolution of zero-filled features equals a sparse (submanifold) convolution at the visible positions (Tian et
al. 2023, section 3.1; Woo et al. 2023, section 3.1).
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from aeseg import masking
from aeseg.types import UserError


def visible_only(features: Float[Array, "b h w d"], hidden: Bool[Array, "b i j"] | None) -> Float[Array, "b h w d"]:
    """Replace features at hidden positions by zeros, even if they are NaN. Returns all features if `hidden` is None."""
    return features if hidden is None else jnp.where(visible_at(features, hidden), features, 0)


def check_hidden(image: Float[Array, "b h w c"], hidden: Bool[Array, "b i j"] | None, stride: int, encoder: str) -> None:
    """Raise UserError unless hidden units are squares whose side is a multiple of the encoder's coarsest stride."""
    if hidden is None:
        return
    sides = [pixels / units for pixels, units in zip(image.shape[1:3], hidden.shape[1:], strict=True)]
    if sides[0] != sides[1] or sides[0] % stride:
        raise UserError(
            f"{encoder} hides squares of a multiple of its coarsest stride, {stride} pixels; {hidden.shape[1]} x {hidden.shape[2]} "
            f"units of an image of {image.shape[1]} x {image.shape[2]} are {sides[0]:g} x {sides[1]:g} pixels. "
            f"Set the method's unit to a multiple of {stride}, or give the encoder fewer levels."
        )


def visible_at(features: Float[Array, "b h w d"], hidden: Bool[Array, "b i j"]) -> Bool[Array, "b h w 1"]:
    """Mark the positions whose unit is visible."""
    return ~masking.spread(hidden, features.shape[1] // hidden.shape[1])[..., None]
