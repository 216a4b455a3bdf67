"""FCMAE's decoder: one ConvNeXt V2 block."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
from ml_collections import ConfigDict

from aeseg import images
from aeseg.models import layers
from aeseg.models.convnext import Block
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, at_stride


class ConvNeXtDecoder(nn.Module):
    """Linear layer to `width`, ConvNeXt V2 blocks and linear layer to pixels (Woo et al. 2023, section 3.1, "Decoder design").

    Reads one stride and returns unbounded values at stride 1. After the first layer, a learned token replaces the features at
    `hidden` [b i j] units.
    """

    width: int = 512
    depth: int = 1
    stride: int = 32
    channels: int = 3
    dtype: str = "float32"

    @nn.compact
    def __call__(self, pyramid: Pyramid, *, train: bool, hidden: Bool[Array, "b i j"] | None = None) -> Float[Array, "b h w _"]:
        features = at_stride(pyramid, self.stride, "ConvNeXtDecoder").astype(self.dtype)
        features = self._linear(self.width, "projection")(features)
        if hidden is not None:
            token = self.param("mask_token", layers.INITIALISERS["narrow"], (self.width,)).astype(self.dtype)
            features = jnp.where(layers.visible_at(features, hidden), features, token.reshape(1, 1, 1, -1))
        for index in range(self.depth):
            features = Block(dtype=self.dtype, name=f"block{index}")(features, train=train)
        return images.from_patches(self._linear(self.stride**2 * self.channels, "pixels")(features), self.stride)

    def _linear(self, width: int, name: str) -> nn.Dense:
        return layers.Dense(width, kernel_init=layers.INITIALISERS["narrow"], dtype=self.dtype, name=name)


def recipe(size: str = "small") -> ConfigDict:
    """Return the decoder of a size: tiny (tests; stride 4), small (CPU; stride 8), reference (the paper's; stride 32)."""
    return spec(
        ConvNeXtDecoder,
        **choose(size, tiny={"width": 8, "stride": 4}, small={"width": 128, "stride": 8}, reference={"width": 512, "stride": 32}),
    )
