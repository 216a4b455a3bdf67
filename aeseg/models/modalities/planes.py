"""Planes aligned with the image: depth, thermal, near infrared."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from aeseg import images
from aeseg.models import tokens
from aeseg.types import Batch, UserError


class Planes(nn.Module):
    """Patches of `key`, [b h w] or [b h w c]; absolute error (Bachmann et al. 2022, section 3.3, for depth).

    uint8 and uint16 planes are read in [0, 1], as images are.  Deviation: the authors' optional standardisation of each depth image by its
    truncated mean and deviation is left out.

    mean, std   standardise the values: one number each for all planes
    channels    number of planes
    """

    key: str = "depth"
    patch: int = 16
    mean: float = 0.0
    std: float = 1.0
    channels: int = 1

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

    def picture(self, values: Float[Array, "b n p"], visible: Bool[Array, "b n"], batch: Batch) -> Float[Array, "b h w _"]:
        """Return three planes in colours, or the first in grey (0 is black, 1 white), with predicted hidden patches."""
        pasted = tokens.pasted(values, self._patches(batch), visible, self.grid(batch), self.patch)
        return pasted[..., : self._shown] * self.std + self.mean

    def pixels(self, batch: Batch) -> Float[Array, "b h w c"]:
        """Return the standardised planes."""
        planes = tokens.read(batch, self.key, "Planes")
        planes = planes.reshape(*planes.shape[:3], -1)
        if planes.shape[-1] != self.channels:
            raise UserError(f"Planes reads {self.channels} planes of {self.key}; the batch has {planes.shape[-1]}. Set channels.")
        return (images.as_float(planes) - self.mean) / self.std

    def seen(self, batch: Batch) -> Float[Array, "b h w _"]:
        """Return the planes that pictures show."""
        return (self.pixels(batch)[..., : self._shown] * self.std + self.mean).clip(0, 1)

    def example(self, h: int, w: int) -> np.ndarray:
        """Return the zeros of one record."""
        return np.zeros((1, h, w, self.channels) if self.channels > 1 else (1, h, w), np.float32)

    @property
    def _shown(self) -> int:
        return 3 if self.channels == 3 else 1

    def _patches(self, batch: Batch) -> Float[Array, "b n p"]:
        return tokens.patches(self.pixels(batch), self.patch)
