"""Planes aligned with the image: depth, thermal, near infrared."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from aeseg.models import tokens
from aeseg.types import Batch


class Planes(nn.Module):
    """Patches of `key`, [b h w] or [b h w c]; absolute error (Bachmann et al. 2022, section 3.3, for depth).

    mean, std   standardise the values, one number for all planes
    """

    key: str = "depth"
    patch: int = 16
    mean: float = 0.0
    std: float = 1.0

    term = "absolute_error"

    def grid(self, batch: Batch) -> tuple[int, int]:
        return tokens.patch_grid(tokens.read(batch, self.key, "Planes"), self.patch, "Planes")

    def present(self, batch: Batch) -> Bool[Array, "b n"]:
        rows, columns = self.grid(batch)
        return jnp.repeat(tokens.recorded(batch, self.key)[:, None], rows * columns, axis=1)

    @nn.compact
    def __call__(self, batch: Batch, width: int, dtype: str) -> Float[Array, "b n {width}"]:
        return tokens.embedded(self._patches(batch), self.grid(batch), width, dtype)

    def numbers(self, batch: Batch) -> int:
        return self._patches(batch).shape[-1]

    def error(self, values: Float[Array, "b n p"], batch: Batch) -> Float[Array, "b n"]:
        return jnp.mean(jnp.abs(values - self._patches(batch)), axis=-1)

    def picture(self, values: Float[Array, "b n p"], visible: Bool[Array, "b n"], batch: Batch) -> Float[Array, "b h w 1"]:
        """Return the first plane with predicted hidden patches, in grey: 0 is black, 1 white."""
        pasted = tokens.pasted(values, self._patches(batch), visible, self.grid(batch), self.patch)
        return pasted[..., :1] * self.std + self.mean

    def _patches(self, batch: Batch) -> Float[Array, "b n p"]:
        planes = tokens.read(batch, self.key, "Planes").astype(jnp.float32)
        return tokens.patches((planes - self.mean) / self.std, self.patch)
