"""Targets of masked autoencoders: the standardisation of the image before hidden units are compared, and which units count."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from aeseg.types import UserError

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of an image: one number for all channels or one for each."""


def statistics(encoder: Any, mean: Sequence[float], std: Sequence[float]) -> Statistics:
    """Return the mean and std of a target: those given, or the encoder's (as in the papers, where both are ImageNet's)."""
    return (tuple(mean), tuple(std)) if mean else (encoder.mean, encoder.std)


def check(method: str, mean: Sequence[float], std: Sequence[float], content: float) -> None:
    """Raise UserError unless mean and std are both given or both absent, deviations are positive, and content is 0 or more."""
    if len(mean) != len(std) or any(value <= 0 for value in std):
        raise UserError(
            f"{method} needs as many target_mean as target_std, the latter above 0; got {tuple(mean)} and {tuple(std)}. "
            "Set both to the data's channel statistics (`inspect` prints them), or both to () for the encoder's."
        )
    if content < 0:
        raise UserError(f"{method} needs content of 0 or more; got {content}. Set it to 0 to count every hidden unit.")


def counted(hidden: Bool[Array, "b i j"], units: Float[Array, "b i j p"], channels: int, least: float) -> Bool[Array, "b i j"]:
    """Mark the hidden units that enter the loss: all of them, or with `least` > 0 those whose content reaches it.

    The content of a unit of a standardised image is the root mean square of differences from the unit's mean colour, over pixels
    and channels: 0 for one colour. Normalising such a unit to variance 1 would amplify noise.
    """
    return hidden & (content(units, channels) >= least) if least else hidden


def content(units: Float[Array, "b i j p"], channels: int) -> Float[Array, "b i j"]:
    """Return the root mean square of each unit's differences from its mean colour."""
    pixels = units.reshape(*units.shape[:3], -1, channels)
    return jnp.sqrt(jnp.mean(jnp.square(pixels - jnp.mean(pixels, axis=3, keepdims=True)), axis=(3, 4)))
