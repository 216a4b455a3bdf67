"""MAE's decoder: from tokens of visible patches to pixels of all patches."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from aeseg import positions
from aeseg.models import layers, transformer
from aeseg.types import UserError


class TokenDecoder(nn.Module):
    """Small transformer on all patches, with a learned token for hidden patches (He et al. 2022, section 3, "MAE decoder").

    positions   fixed (sine-cosine, for any grid) | learned (for `grid`, resized for other grids)
    """

    width: int = 512
    depth: int = 8
    heads: int = 16
    ratio: float = 4.0
    positions: str = "fixed"
    grid: tuple[int, int] = (14, 14)
    epsilon: float = 1e-6
    remat: bool = False
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.positions not in ("fixed", "learned"):
            raise UserError(f"positions is one of fixed, learned; got {self.positions!r}. Set positions to one of these.")
        super().__post_init__()

    @nn.compact
    def __call__(
        self, tokens: Float[Array, "b _ _"], hidden: Bool[Array, "b h w"], leading: int, numbers: int, *, train: bool
    ) -> Float[Array, "b h w {numbers}"]:
        """Return `numbers` unbounded values for each patch.

        `tokens` holds `leading` tokens (a class token), then tokens of the visible patches in row-major order, or of all patches:
        then no mask token is inserted.
        """
        b, h, w = hidden.shape
        tokens = layers.Dense(self.width, kernel_init=transformer.XAVIER, dtype=self.dtype, name="embed")(tokens)
        first, patches = tokens[:, :leading], tokens[:, leading:]
        if patches.shape[1] < h * w:
            patches = self._filled(patches, hidden.reshape(b, h * w))
        tokens = jnp.concatenate([first, patches], axis=1) + self._table((h, w), leading)[None].astype(self.dtype)
        fields = {name: getattr(self, name) for name in ("ratio", "epsilon", "remat", "dtype")}
        tokens, _ = transformer.blocks(tokens, self.depth, self.heads, train=train, **fields)
        tokens = transformer.layer_norm(self.epsilon, self.dtype, "norm")(tokens[:, leading:])
        values = layers.Dense(numbers, kernel_init=transformer.XAVIER, dtype=self.dtype, name="pixels")(tokens)
        return values.reshape(b, h, w, numbers)

    def _filled(self, visible: Float[Array, "b _ d"], hidden: Bool[Array, "b n"]) -> Float[Array, "b n d"]:
        """Put the visible tokens at their positions, and the mask token at all others."""
        token = self.param("mask_token", transformer.TOKEN, (1, 1, self.width)).astype(self.dtype)
        source = jnp.maximum(jnp.cumsum(~hidden, axis=1) - 1, 0)
        return jnp.where(hidden[..., None], token, jnp.take_along_axis(visible, source[..., None], axis=1))

    def _table(self, grid: tuple[int, int], leading: int) -> Array:
        if self.positions == "fixed":
            return jnp.asarray(positions.sine_cosine(*grid, self.width, leading))
        table = self.param("position_table", transformer.TOKEN, (leading + self.grid[0] * self.grid[1], self.width))
        return jnp.asarray(positions.resized(table, self.grid, grid, leading))
