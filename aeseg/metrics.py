"""Numbers about predictions.  Everything is a sum and a weight, or an integer count; each is divided exactly once."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Mean(NamedTuple):
    """A mean that is not yet divided: what every objective returns.  Parts of a data set are joined with `+`."""

    total: Float[Array, ""]
    weight: Float[Array, ""]

    def __add__(self, other: "Mean") -> "Mean":  # type: ignore[override]
        return Mean(self.total + other.total, self.weight + other.weight)

    def value(self) -> Float[Array, ""]:
        """total / weight; 0 where nothing weighs."""
        return divide(self.total, self.weight)


def divide(total: Float[Array, ""], weight: Float[Array, ""]) -> Float[Array, ""]:
    """total / weight, and 0 (with gradient 0) where the weight is 0."""
    return jnp.where(weight > 0, total / jnp.where(weight > 0, weight, 1), 0)
