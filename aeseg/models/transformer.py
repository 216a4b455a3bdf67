"""Transformer blocks in one scan, shared by encoders of patches and MAE's decoder."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aeseg.models import layers
from aeseg.types import UserError

XAVIER = nn.initializers.xavier_uniform()
TOKEN = nn.initializers.normal(0.02)
"""Initialisers of weights and learned tokens, as in MAE (He et al. 2022, appendix A.1)."""

INITIALISERS = {"xavier": XAVIER, "depth": TOKEN}
"""Initialisers by name: MAE's; BEiT's and SimMIM's (SimMIM's code, vision_transformer.py), which `Block` divides in its last layers."""


class Block(nn.Module):
    """Pre-norm block: x + attention(norm(x)), then x + mlp(norm(x)) (Dosovitskiy et al. 2021, equations 2 and 3; exact GELU).

    heads         attention heads; softmax and norms are float32
    ratio         hidden units of the MLP relative to the width
    layer_scale   initial value of a learned factor per channel of a branch (Touvron et al. 2021, "CaiT", equation 1); 0: none
    drops         drop each branch of an image with probability `rate` (Huang et al. 2016); kept branches are divided by 1 - rate
    collects      return the tokens also as second result, which the scan stacks
    initialiser   "depth" divides the last layer of each branch of block l (from 1) by sqrt(2 l) (Bao et al. 2022, section 2.5)
    gated         a SwiGLU in place of the MLP (Shazeer 2020, equation 6): the first half of `expand` gates the second
    key_bias      the keys have a bias
    """

    heads: int
    ratio: float
    epsilon: float
    layer_scale: float
    drops: bool
    collects: bool
    dtype: str
    initialiser: str = "xavier"
    gated: bool = False
    key_bias: bool = True

    @nn.compact
    def __call__(
        self,
        tokens: Float[Array, "b n d"],
        rate: Float[Array, ""],
        number: Int[Array, ""],
        present: Int[Array, "b"] | None = None,
        angles: Float[Array, "_ n _"] | None = None,
    ) -> tuple[Float[Array, "b n d"], Array | None]:
        width = tokens.shape[-1]
        if width % self.heads:
            raise UserError(f"The width of a transformer must be divisible by its heads; got {width} and {self.heads}. Change one of them.")
        branch = layer_norm(self.epsilon, self.dtype, "norm_before")(tokens)
        query, key, value = (
            self._dense(width, name, use_bias=name != "key" or self.key_bias)(branch).reshape(*branch.shape[:2], self.heads, -1)
            for name in ("query", "key", "value")
        )
        if angles is not None:
            query, key = rotated(query, angles), rotated(key, angles)
        branch = layers.attention(query, key, value, present).reshape(branch.shape)
        tokens = tokens + self._weighed(self._dense(width, "projection", number)(branch), "attention_scale", rate)
        branch = layer_norm(self.epsilon, self.dtype, "norm_after")(tokens)
        branch = self._dense(round(self.ratio * width) * (2 if self.gated else 1), "expand")(branch)
        if self.gated:
            gate, branch = jnp.split(branch, 2, axis=-1)
            branch = nn.silu(gate) * branch
        else:
            branch = layers.gelu(branch)
        tokens = tokens + self._weighed(self._dense(width, "contract", number)(branch), "mlp_scale", rate)
        return tokens, tokens if self.collects else None

    def _dense(self, units: int, name: str, number: Int[Array, ""] | None = None, use_bias: bool = True) -> nn.Dense:
        start = INITIALISERS[self.initialiser]

        def smaller(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
            return start(key, shape, dtype) / jnp.sqrt(2.0 * number)  # type: ignore[operator]

        shrinks = self.initialiser == "depth" and number is not None
        return layers.Dense(units, use_bias, kernel_init=smaller if shrinks else start, dtype=self.dtype, name=name)

    def _weighed(self, branch: Float[Array, "b n d"], name: str, rate: Float[Array, ""]) -> Float[Array, "b n d"]:
        if self.layer_scale:
            scale = self.param(name, nn.initializers.constant(self.layer_scale), branch.shape[-1:])
            branch = branch * scale.astype(branch.dtype).reshape(1, 1, -1)
        if self.drops:
            kept = jax.random.bernoulli(self.make_rng("drop_path"), 1 - rate, (branch.shape[0], 1, 1))
            branch = jnp.where(kept, branch / (1 - rate).astype(branch.dtype), 0)
        return branch


def blocks(
    tokens: Float[Array, "b n d"],
    depth: int,
    heads: int,
    *,
    dtype: str,
    train: bool,
    ratio: float = 4.0,
    epsilon: float = 1e-6,
    initialiser: str = "xavier",
    layer_scale: float = 0.0,
    drop_path: float = 0.0,
    remat: bool = False,
    collects: bool = False,
    present: Int[Array, "b"] | None = None,
    gated: bool = False,
    key_bias: bool = True,
    angles: Float[Array, "_ n _"] | None = None,
) -> tuple[Float[Array, "b n d"], Float[Array, "{depth} b n d"] | None]:
    """Apply `depth` blocks; return the tokens, and with `collects` also the tokens after each block. Call inside a compact method.

    The parameters are at `blocks`, with the depth as first axis. `drop_path` is the rate of the last block; the rates rise linearly
    from 0 (Huang et al. 2016, section 3). `remat` recomputes activations in the backward pass.
    Nothing attends to an image's tokens after the first `present`.  `angles` rotate queries and keys (see `rotated`).
    """
    if not 0 <= drop_path < 1:
        raise UserError(f"drop_path is a probability, 0 or more and less than 1; got {drop_path}. Change it in the config.")
    kind = nn.remat(Block, prevent_cse=False) if remat else Block
    scanned = nn.scan(
        kind,
        variable_axes={"params": 0},
        split_rngs={"params": True, "drop_path": True},
        in_axes=(0, 0, nn.broadcast, nn.broadcast),
        length=depth,
    )
    drops = train and drop_path > 0
    stack = scanned(heads, ratio, epsilon, layer_scale, drops, collects, dtype, initialiser, gated, key_bias, name="blocks")
    return stack(tokens, jnp.linspace(0.0, drop_path, depth), jnp.arange(1, depth + 1), present, angles)


def rotated(vectors: Float[Array, "b n heads d"], angles: Float[Array, "_ n d"]) -> Float[Array, "b n heads d"]:
    """Rotate channel i with channel i + d / 2 by the angles of each token (Su et al. 2021, "RoFormer", section 3.2); 0 leaves a token."""
    first, second = jnp.split(vectors, 2, axis=-1)
    turned = jnp.concatenate([-second, first], axis=-1)
    cosine, sine = (function(angles)[:, :, None].astype(vectors.dtype) for function in (jnp.cos, jnp.sin))
    return vectors * cosine + turned * sine


def layer_norm(epsilon: float, dtype: str, name: str) -> nn.LayerNorm:
    """Return a layer norm (Ba et al. 2016)."""
    return layers.LayerNorm(epsilon=epsilon, dtype=dtype, name=name)
