"""Text as bytes, without a vocabulary."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from aeseg import positions
from aeseg.models import tokens
from aeseg.types import Batch

BYTES = 256


class Text(nn.Module):
    """One token per byte of `key`, uint8 [b n] in UTF-8, padded with 0; cross-entropy of hidden bytes (ByT5, Xue et al. 2022).

    Zeros count as missing tokens.  Embeddings start with variance 1, as in T5, or positions would hide them.
    """

    key: str = "caption"

    term = "cross_entropy"

    def grid(self, batch: Batch) -> tuple[int, int]:
        return 1, tokens.read(batch, self.key, "Text").shape[1]

    def present(self, batch: Batch) -> Bool[Array, "b n"]:
        return tokens.recorded(batch, self.key)[:, None] & (self._bytes(batch) != 0)

    @nn.compact
    def __call__(self, batch: Batch, width: int, dtype: str) -> Float[Array, "b n {width}"]:
        table = self.param("bytes", nn.initializers.normal(1.0), (BYTES, width)).astype(dtype)
        return jnp.take(table, self._bytes(batch), axis=0) + jnp.asarray(positions.sine_cosine(*self.grid(batch), width), dtype)[None]

    def numbers(self, batch: Batch) -> int:
        return BYTES

    def error(self, values: Float[Array, "b n p"], batch: Batch) -> Float[Array, "b n"]:
        return -jnp.take_along_axis(jax.nn.log_softmax(values, axis=-1), self._bytes(batch)[..., None], axis=-1)[..., 0]

    def picture(self, values: Float[Array, "b n p"], visible: Bool[Array, "b n"], batch: Batch) -> None:
        return None

    def example(self, h: int, w: int) -> np.ndarray:
        """Return an empty text: one record with one padding byte."""
        return np.zeros((1, 1), np.uint8)

    def _bytes(self, batch: Batch) -> Int[Array, "b n"]:
        return tokens.read(batch, self.key, "Text").astype(jnp.int32)
