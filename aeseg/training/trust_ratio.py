"""Steps in proportion to the size of what they change: the trust ratios of LARS and LAMB."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from aeseg import tree


def scale_by_lamb_ratio(exempt: Sequence[str]) -> optax.GradientTransformation:
    """u -> u |w| / |u| (You et al. 2020, algorithm 2, phi(z) = z), layer by layer; 1 where w or u is 0, or is `exempt`."""

    def scaled(name: str, update: Array, weight: Array) -> Array:
        if tree.matches(name, exempt):
            return update
        size, step = norm(name, weight), norm(name, update)
        return update * jnp.where((size > 0) & (step > 0), size / jnp.where(step > 0, step, 1), 1)

    return _stateless(scaled)


def scale_by_lars_ratio(coefficient: float, weight_decay: float, exempt: Sequence[str]) -> optax.GradientTransformation:
    """g -> (g + d w) c |w| / (|g| + d |w|) (You et al. 2017, equation 6 and algorithm 1), layer by layer; g where `exempt`.

    The ratio is 1 where w or g is 0, so that what starts at 0 can leave it.
    """

    def scaled(name: str, gradient: Array, weight: Array) -> Array:
        if tree.matches(name, exempt):
            return gradient
        size, slope = norm(name, weight), norm(name, gradient)
        moves = (size > 0) & (slope > 0)
        ratio = jnp.where(moves, coefficient * size / jnp.where(moves, slope + weight_decay * size, 1), 1)
        return ratio * (gradient + weight_decay * weight)

    return _stateless(scaled)


def norm(name: str, array: Array) -> Float[Array, "..."]:
    """The Euclidean norm of a layer's array: of each slice [depth, 1, ...] where the path says that layers are stacked."""
    axes = tuple(range(int(tree.is_stacked(name)), array.ndim))
    return jnp.sqrt(jnp.sum(jnp.square(array), axis=axes, keepdims=True))


def _stateless(scaled: Any) -> optax.GradientTransformation:
    def update(updates: Any, state: Any, params: Any) -> tuple[Any, Any]:
        return tree.map_with_name(scaled, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
