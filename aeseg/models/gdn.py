"""Generalised divisive normalisation, the activation of learned image compression."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aeseg.models.bounds import at_least

PEDESTAL = 2.0**-36
"""Keeps the gradient of a squared parameter away from 0 (as in the code of Ballé et al. 2018)."""


class GDN(nn.Module):
    """y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j^2) in every pixel (Ballé et al. 2016, arXiv 1611.01704, equation 3).

    `inverse` multiplies instead (equation 4): its approximate inverse, for decoders.  Parameters are the roots of beta (initially 1) and
    gamma (0.1 times the identity), so both stay positive; beta is at least 1e-6.
    """

    inverse: bool = False
    dtype: str = "float32"

    @nn.compact
    def __call__(self, features: Float[Array, "b h w d"]) -> Float[Array, "b h w d"]:
        width, wide = features.shape[-1], jnp.promote_types(self.dtype, jnp.float32)
        beta = _positive(self.param("beta", lambda _: jnp.full((width,), (1 + PEDESTAL) ** 0.5)), 1e-6)
        gamma = _positive(self.param("gamma", lambda _: jnp.sqrt(0.1 * jnp.eye(width) + PEDESTAL)), 0.0)
        values = features.astype(wide)
        energy = jnp.einsum("bhwj,ij->bhwi", jnp.square(values), gamma.astype(wide), precision=jax.lax.Precision.HIGHEST)
        norm = jnp.sqrt(energy + beta.astype(wide).reshape(1, 1, 1, -1))
        return (values * norm if self.inverse else values / norm).astype(self.dtype)


def _positive(root: Float[Array, "*n"], least: float) -> Float[Array, "*n"]:
    """Return the square of a parameter, at least `least`."""
    return jnp.square(at_least(root, (least + PEDESTAL) ** 0.5)) - PEDESTAL
