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
    """A linear layer to `width`, ConvNeXt V2 blocks, a linear layer to a cell's pixels (Woo et al. 2023, section 3.1, "Decoder design").

    Reads one stride and gives stride 1, unbounded.  `hidden` [b i j], as a masked method gives it, puts a learned token in the
    place of the features there, between the first layer and the blocks.
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
        for place in range(self.depth):
            features = Block(dtype=self.dtype, name=f"block{place}")(features, train=train)
        return images.from_patches(self._linear(self.stride**2 * self.channels, "pixels")(features), self.stride)

    def _linear(self, width: int, name: str) -> nn.Dense:
        return nn.Dense(width, kernel_init=layers.INITIALISERS["narrow"], dtype=self.dtype, name=name)


def recipe(size: str = "small") -> ConfigDict:
    """tiny (tests; reads stride 4), small (stride 8; a CPU), reference (the paper's; stride 32)."""
    return spec(
        ConvNeXtDecoder,
        **choose(size, tiny={"width": 8, "stride": 4}, small={"width": 128, "stride": 8}, reference={"width": 512, "stride": 32}),
    )
