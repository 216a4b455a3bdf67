"""MultiMAE's decoder: one modality's tokens attend to all visible tokens."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from aeseg.models import layers, transformer


class CrossDecoder(nn.Module):
    """Cross-attention, an MLP, and a few blocks (Bachmann et al. 2022, section 3.2, figure 2).

    Queries are the modality's tokens: the encoder's output for visible tokens, a learned token for hidden tokens.  Positions and a
    learned embedding of the modality are added to queries and context.  As in the authors' code, the cross-attention has no residual
    connection, and the MLP has one.
    """

    width: int = 256
    depth: int = 2
    heads: int = 8
    ratio: float = 4.0
    epsilon: float = 1e-6
    dtype: str = "float32"

    @nn.compact
    def __call__(
        self,
        encoded: Float[Array, "b l d"],
        positions: Float[Array, "b v w"],
        kinds: Int[Array, "b v"],
        present: Int[Array, "b"],
        queries: tuple[Int[Array, "b n"], Bool[Array, "b n"], Float[Array, "n w"], int],
        modalities: int,
        numbers: int,
        *,
        train: bool,
    ) -> Float[Array, "b n {numbers}"]:
        """Return `numbers` values for each query, float32.

        `encoded` holds leading tokens, then v visible tokens with these `positions` and `kinds` (the index of their modality, below
        `modalities`).  Only the first `present` visible tokens of an image exist.  `queries` holds each query's index among the visible
        tokens, whether it is visible, its position, and the kind of all queries.
        """
        index, visible, where, kind = queries
        leading = encoded.shape[1] - kinds.shape[1]
        tokens = self._dense(self.width, "context")(encoded)
        embedding = self.param("modalities", transformer.TOKEN, (modalities, self.width)).astype(self.dtype)
        mask = self.param("mask_token", transformer.TOKEN, (self.width,)).astype(self.dtype)
        own = jnp.take_along_axis(tokens[:, leading:], jnp.where(visible, index, 0)[..., None], axis=1)
        query = (
            jnp.where(visible[..., None], own, mask.reshape(1, 1, -1)) + where.astype(self.dtype)[None] + embedding[kind].reshape(1, 1, -1)
        )
        context = tokens[:, leading:] + positions.astype(self.dtype) + jnp.take(embedding, kinds, axis=0)
        context = jnp.concatenate([tokens[:, :leading], context], axis=1)
        values = self._attended(query, context, present + leading)
        branch = transformer.layer_norm(self.epsilon, self.dtype, "norm_after")(values)
        branch = layers.gelu(self._dense(round(self.ratio * self.width), "expand")(branch))
        values = values + self._dense(self.width, "contract")(branch)
        if self.depth:
            fields = {name: getattr(self, name) for name in ("ratio", "epsilon", "dtype")}
            values, _ = transformer.blocks(values, self.depth, self.heads, train=train, **fields)
        return self._dense(numbers, "values")(values).astype(jnp.float32)

    def _attended(self, query: Float[Array, "b n w"], context: Float[Array, "b l w"], present: Int[Array, "b"]) -> Float[Array, "b n w"]:
        query = transformer.layer_norm(self.epsilon, self.dtype, "norm_queries")(query)
        context = transformer.layer_norm(self.epsilon, self.dtype, "norm_context")(context)
        query, key, value = (
            self._dense(self.width, name)(tokens).reshape(*tokens.shape[:2], self.heads, -1)
            for name, tokens in (("query", query), ("key", context), ("value", context))
        )
        attended = layers.attention(query, key, value, present)
        return self._dense(self.width, "projection")(attended.reshape(*attended.shape[:2], -1))

    def _dense(self, units: int, name: str) -> nn.Dense:
        return layers.Dense(units, kernel_init=transformer.XAVIER, dtype=self.dtype, name=name)
