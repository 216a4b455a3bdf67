"""Entropy models of quantised features: the probability of a value is the mass of the bin of width 1 around it."""

import itertools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aeseg.models.bounds import at_least

LEAST_MASS = 1e-9
"""Smallest probability in a loss: its logarithm stays finite (as in the authors' code)."""

LEAST_SCALE, LARGEST_SCALE, LEVELS = 0.11, 256.0, 64
"""Standard deviations of the coder, in equal steps of their logarithm (as in the authors' code)."""

LOG_STEP = math.log(LARGEST_SCALE / LEAST_SCALE) / (LEVELS - 1)


class FactorisedPrior(nn.Module):
    """A learned univariate density for each channel (Ballé et al. 2018, appendix 6.1).

    The cumulative distribution is sigmoid(f_K(... f_1(x))), with f_k(x) = g(softplus(H) x + b), g(x) = x + tanh(a) tanh(x), and no g in
    f_K.  `widths` are the dimensions between; `spread` is the initial scale of the density.
    """

    widths: tuple[int, ...] = (3, 3, 3)
    spread: float = 10.0

    @nn.compact
    def __call__(self, values: Float[Array, "b h w d"]) -> Float[Array, "b h w d"]:
        """Return the mass of the bin around each value."""
        channels = values.shape[-1]
        flat = values.reshape(-1, channels).T[:, None]  # d 1 n
        ends = jnp.concatenate([flat - 0.5, flat + 0.5], axis=-1)
        sizes = (1, *self.widths, 1)
        spread = self.spread ** (1 / (len(sizes) - 1))
        for layer, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
            start = math.log(math.expm1(1 / (spread * outputs)))
            matrix = self.param(f"matrix{layer}", nn.initializers.constant(start), (channels, outputs, inputs))
            bias = self.param(f"bias{layer}", _centred, (channels, outputs, 1))
            ends = jnp.einsum("doi,din->don", jax.nn.softplus(matrix), ends, precision=jax.lax.Precision.HIGHEST) + bias
            if layer < len(self.widths):
                ends = ends + jnp.tanh(self.param(f"factor{layer}", nn.initializers.zeros_init(), bias.shape)) * jnp.tanh(ends)
        lower, upper = jnp.split(ends[:, 0], 2, axis=-1)
        sign = jax.lax.stop_gradient(-jnp.sign(lower + upper))  # subtracts in the tail where a sigmoid has more digits
        mass = jnp.abs(jax.nn.sigmoid(sign * upper) - jax.nn.sigmoid(sign * lower))
        return mass.T.reshape(values.shape)


def gaussian_mass(values: Float[Array, "*n"], log_scale: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return the mass of N(0, exp(log_scale)^2) in the bin around each value (Ballé et al. 2018, section 3).

    The mass is a difference in the lower tail, where float32 has more digits.
    """
    inverse, distance = jnp.exp(-log_scale), jnp.abs(values)
    return jax.scipy.special.ndtr((0.5 - distance) * inverse) - jax.scipy.special.ndtr((-0.5 - distance) * inverse)


def in_range(log_scale: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return log scales inside the range of the coder."""
    bounded = at_least(log_scale, math.log(LEAST_SCALE))
    return -at_least(-bounded, -math.log(LARGEST_SCALE))


def bits(mass: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return the length of the ideal code, -log2 of the mass."""
    return -jnp.log2(at_least(mass, LEAST_MASS))


def _centred(key: Array, shape: tuple[int, ...], dtype: str = "float32") -> Array:
    return jax.random.uniform(key, shape, dtype, -0.5, 0.5)
