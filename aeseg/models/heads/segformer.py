"""SegFormer's head: an MLP per cell, on all strides."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.models.products import product
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, chosen_strides


class SegFormerHead(nn.Module):
    """Projects each stride to `width` channels, resizes to the finest stride, and joins (Xie et al. 2021, equation 4).

    The joining layer has batch norm, ReLU and no bias, as in the authors' code; channel dropout follows. The logits have the finest of
    `strides`: 4 on MiT.

    strides   strides to read; (): the coarsest four of the encoder (or all, if it has fewer)
    """

    classes: int
    width: int = 256
    strides: tuple[int, ...] = ()
    dropout: float = 0.1
    dtype: str = "float32"

    @nn.compact
    def __call__(self, pyramid: Pyramid, *, train: bool) -> Pyramid:
        strides = chosen_strides(pyramid, self.strides, "SegFormerHead")
        h, w = pyramid[strides[0]].shape[1:3]
        projected = [
            layers.Dense(self.width, dtype=self.dtype, name=f"project{index}")(pyramid[stride]) for index, stride in enumerate(strides)
        ]
        joined = Join(self.width, self.dtype, name="join")(projected[::-1], h, w)  # coarse to fine, the order of published weights
        features = nn.relu(layers.normalise(joined, "batch", train=train, dtype=self.dtype, name="norm"))
        features = layers.dropout(self, features, self.dropout, train=train, whole=True)
        logits = layers.Convolution(self.classes, size=1, initialiser="lecun", dtype=self.dtype, name="logits")
        return {strides[0]: logits(features)}


class Join(nn.Module):
    """Resizes features to one size, concatenates their channels, and applies a 1x1 convolution without bias.

    All three are linear, so the convolution comes first, level by level: coarse levels cost less, and nothing is concatenated.
    """

    features: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, levels: Sequence[Float[Array, "b _ _ _"]], height: int, width: int) -> Float[Array, "b {height} {width} d"]:
        channels = [level.shape[-1] for level in levels]
        kernel = self.param("kernel", layers.INITIALISERS["he"], (1, 1, sum(channels), self.features))
        parts = jnp.split(kernel[0, 0].astype(self.dtype), np.cumsum(channels)[:-1])
        joined = [layers.resize(product(level, part), height, width) for level, part in zip(levels, parts, strict=True)]
        return sum(joined[1:], joined[0])


def recipe(size: str = "small", classes: int = 2) -> ConfigDict:
    """Return the head of a size: tiny (tests), small (CPU), b0 (for MiT b0 and b1), b2 (for b2 to b5): C in table 6."""
    return spec(
        SegFormerHead, classes=classes, **choose(size, tiny={"width": 8}, small={"width": 64}, b0={"width": 256}, b2={"width": 768})
    )
