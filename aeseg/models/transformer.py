"""Transformer blocks, one after the other under one scan: shared by encoders of patches and by MAE's decoder."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aeseg.types import UserError

XAVIER = nn.initializers.xavier_uniform()
TOKEN = nn.initializers.normal(0.02)
"""How weights and learned tokens start in MAE (He et al. 2022, appendix A.1)."""


class Block(nn.Module):
    """A pre-norm block: x + attention(norm(x)), then x + mlp(norm(x)) (Dosovitskiy et al. 2021, equations 2 and 3; exact GELU).

    heads         of the attention; softmax and norms are float32
    ratio         the hidden units of the MLP are `ratio` times the width
    layer_scale   what the learned factor of each branch's channels starts from (Touvron et al. 2021, "CaiT", equation 1); 0: none
    drops         each branch is left out for a whole image with probability `rate` (Huang et al. 2016), else divided by 1 - rate
    collects      gives its tokens also as the second result, which the scan stacks
    """

    heads: int
    ratio: float
    epsilon: float
    layer_scale: float
    drops: bool
    collects: bool
    dtype: str

    @nn.compact
    def __call__(
        self, tokens: Float[Array, "b n d"], rate: Float[Array, ""], present: Int[Array, "b"] | None = None
    ) -> tuple[Float[Array, "b n d"], Array | None]:
        width = tokens.shape[-1]
        if width % self.heads:
            raise UserError(f"The width of a transformer is divisible by its heads; got {width} and {self.heads}. Change one of them.")
        branch = layer_norm(self.epsilon, self.dtype, "norm_before")(tokens)
        query, key, value = (
            self._dense(width, name)(branch).reshape(*branch.shape[:2], self.heads, -1) for name in ("query", "key", "value")
        )
        branch = attention(query, key, value, present).reshape(branch.shape)
        tokens = tokens + self._weighed(self._dense(width, "projection")(branch), "attention_scale", rate)
        branch = layer_norm(self.epsilon, self.dtype, "norm_after")(tokens)
        branch = nn.gelu(self._dense(round(self.ratio * width), "expand")(branch), approximate=False)
        tokens = tokens + self._weighed(self._dense(width, "contract")(branch), "mlp_scale", rate)
        return tokens, tokens if self.collects else None

    def _dense(self, units: int, name: str) -> nn.Dense:
        return nn.Dense(units, kernel_init=XAVIER, dtype=self.dtype, name=name)

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
    layer_scale: float = 0.0,
    drop_path: float = 0.0,
    remat: bool = False,
    collects: bool = False,
    present: Int[Array, "b"] | None = None,
) -> tuple[Float[Array, "b n d"], Float[Array, "{depth} b n d"] | None]:
    """(the tokens after `depth` blocks, and where `collects` those after each).  Call it inside a compact method.

    The parameters stand at `blocks`, with the depth as their first axis.  `drop_path` is the last block's rate; the rates rise
    linearly from 0 (Huang et al. 2016, section 3).  `remat` computes a block's activations again in the backward pass.
    Nothing attends to an image's tokens after its first `present`.
    """
    if not 0 <= drop_path < 1:
        raise UserError(f"drop_path is a probability, 0 or more and less than 1; got {drop_path}. Change it in the config.")
    kind = nn.remat(Block, prevent_cse=False) if remat else Block
    scanned = nn.scan(
        kind, variable_axes={"params": 0}, split_rngs={"params": True, "drop_path": True}, in_axes=(0, nn.broadcast), length=depth
    )
    stack = scanned(heads, ratio, epsilon, layer_scale, train and drop_path > 0, collects, dtype, name="blocks")
    return stack(tokens, jnp.linspace(0.0, drop_path, depth), present)


def attention(
    query: Float[Array, "b n heads d"],
    key: Float[Array, "b m heads d"],
    value: Float[Array, "b m heads d"],
    present: Int[Array, "b"] | None = None,
) -> Float[Array, "b n heads d"]:
    """softmax(q k / sqrt(d)) v (Vaswani et al. 2017, equation 1), the softmax in float32; on a GPU cuDNN's kernel where it has one.

    cuDNN (flash attention) takes half precision and heads of up to 128 numbers, a multiple of 8.  Only an image's first `present` keys
    are attended to; None: all.
    """
    fits = query.dtype in (jnp.bfloat16, jnp.float16) and query.shape[-1] <= 128 and query.shape[-1] % 8 == 0
    cudnn = fits and jax.default_backend() == "gpu"
    return jax.nn.dot_product_attention(query, key, value, key_value_seq_lengths=present, implementation="cudnn" if cudnn else "xla")


def layer_norm(epsilon: float, dtype: str, name: str) -> nn.LayerNorm:
    """Layer norm (Ba et al. 2016) with its statistics in float32, the variance from the differences to the mean."""
    return nn.LayerNorm(epsilon=epsilon, dtype=dtype, use_fast_variance=False, name=name)
