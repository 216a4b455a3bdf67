"""Trust ratios of LARS and LAMB: updates scaled by the norm of the weights they change."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from aeseg import tree


def scale_by_lamb_ratio(exempt: Sequence[str]) -> optax.GradientTransformation:
    """u -> u |w| / |u| (You et al. 2020, algorithm 2, phi(z) = z), per layer. The ratio is 1 if w or u is 0, or if `exempt`."""

    def scaled(name: str, update: Array, weight: Array) -> Array:
        if tree.matches(name, exempt):
            return update
        size, step = norm(name, weight), norm(name, update)
        return update * jnp.where((size > 0) & (step > 0), size / jnp.where(step > 0, step, 1), 1)

    return _stateless(scaled)


def scale_by_lars_ratio(coefficient: float, weight_decay: float, exempt: Sequence[str]) -> optax.GradientTransformation:
    """g -> (g + d w) c |w| / (|g| + d |w|) (You et al. 2017, equation 6 and algorithm 1), per layer; g if `exempt`.

    The ratio is 1 if w or g is 0, so that weights that start at 0 can move.
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
    """Euclidean norm of the array of a layer, or of each slice [depth, 1, ...] if the path names a stack of layers."""
    axes = tuple(range(int(tree.is_stacked(name)), array.ndim))
    return jnp.sqrt(jnp.sum(jnp.square(array), axis=axes, keepdims=True))


def _stateless(scaled: Any) -> optax.GradientTransformation:
    def update(updates: Any, state: Any, params: Any) -> tuple[Any, Any]:
        return tree.map_with_name(scaled, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
