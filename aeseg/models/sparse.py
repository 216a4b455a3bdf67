"""Masked ("sparse") mode of convolutional encoders: what is hidden is zero after every layer, and influences nothing.

Where layers take `hidden` [b i j] (units of an image: True where hidden), what they give is zero at hidden positions.  Units are no
smaller than the coarsest stride, so that a position is hidden or visible as a whole.  `hidden=None` hides nothing, and
computes nothing more.  A dense convolution between such zeros is what a sparse (submanifold) convolution computes at the
visible positions (Tian et al. 2023, section 3.1; Woo et al. 2023, section 3.1).
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from aeseg import masking
from aeseg.types import UserError


def visible_only(features: Float[Array, "b h w d"], hidden: Bool[Array, "b i j"] | None) -> Float[Array, "b h w d"]:
    """The features with zeros at hidden positions, whatever stood there (NaN too); all of them where `hidden` is None."""
    return features if hidden is None else jnp.where(visible_at(features, hidden), features, 0)


def check_hidden(image: Float[Array, "b h w c"], hidden: Bool[Array, "b i j"] | None, stride: int, encoder: str) -> None:
    """Raises UserError where hidden units are no squares, or smaller than a position of the encoder's coarsest stride."""
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
    """True where the unit over a position is visible."""
    return ~masking.spread(hidden, features.shape[1] // hidden.shape[1])[..., None]
