"""Lower bounds whose gradient still lets a bounded value return."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def at_least(values: Float[Array, "*n"], bound: float) -> Float[Array, "*n"]:
    """Return max(values, bound); a value below the bound gets only the gradient that would raise it, for a loss to minimise.

    As in the code of Ballé et al. 2018 (tensorflow_compression, `lower_bound`).
    """
    return jnp.maximum(values, bound)


def _forward(values: Array, bound: float) -> tuple[Array, Array]:
    return jnp.maximum(values, bound), values >= bound


def _backward(bound: float, above: Array, slope: Array) -> tuple[Array]:
    return (jnp.where(above | (slope < 0), slope, 0),)


at_least.defvjp(_forward, _backward)
