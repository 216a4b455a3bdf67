"""Generalised divisive normalisation, the activation of learned image compression."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LEAST = 1e-6
"""Smallest beta (as in the code of Ballé et al. 2018)."""


class GDN(nn.Module):
    """y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j^2) in every pixel (Ballé et al. 2016, arXiv 1611.01704, equation 3).

    `inverse` multiplies instead (equation 4): its approximate inverse, for decoders.  Parameters are the roots of beta - LEAST, initially
    1, and of gamma, so both stay positive.  gamma is initially 0.1 on the diagonal and 1e-4 elsewhere.  Deviation: the authors' code bounds
    the roots, and starts from 0 outside the diagonal.
    """

    inverse: bool = False
    dtype: str = "float32"

    @nn.compact
    def __call__(self, features: Float[Array, "b h w d"]) -> Float[Array, "b h w d"]:
        width, wide = features.shape[-1], jnp.promote_types(self.dtype, jnp.float32)
        beta = jnp.square(self.param("beta", nn.initializers.ones_init(), (width,)).astype(wide)) + LEAST
        gamma = jnp.square(self.param("gamma", _initial, (width, width)).astype(wide))
        values = features.astype(wide)
        energy = jnp.einsum("bhwj,ij->bhwi", jnp.square(values), gamma, precision=jax.lax.Precision.HIGHEST)
        norm = jnp.sqrt(energy + beta.reshape(1, 1, 1, -1))
        return (values * norm if self.inverse else values / norm).astype(self.dtype)


def _initial(key: Array, shape: tuple[int, int], dtype: str = "float32") -> Array:
    del key
    return jnp.sqrt(jnp.where(jnp.eye(*shape, dtype=bool), 0.1, 1e-4)).astype(dtype)
