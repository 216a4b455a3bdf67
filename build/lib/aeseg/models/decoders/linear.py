"""SimMIM's decoder: one linear layer."""

import flax.linen as nn
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg import images
from aeseg.models import layers
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, at_stride


class LinearDecoder(nn.Module):
    """A 1x1 convolution from each cell of one stride to its pixels (Xie et al. 2022, section 3.3, "Linear layer").

    The outputs are the pixels of a cell in row-major order, channels last; torch's PixelShuffle has channels first.
    """

    stride: int = 8
    channels: int = 3
    dtype: str = "float32"

    @nn.compact
    def __call__(self, pyramid: Pyramid, *, train: bool) -> Float[Array, "b h w _"]:
        features = at_stride(pyramid, self.stride, "LinearDecoder").astype(self.dtype)
        pixels = layers.Convolution(self.stride**2 * self.channels, size=1, initialiser="lecun", dtype=self.dtype, name="pixels")
        return images.from_patches(pixels(features), self.stride)


def recipe(size: str = "small") -> ConfigDict:
    """Return the decoder of a size: tiny (tests; stride 4), small (stride 8), b16 (stride 16, ViT), reference (stride 32, Swin)."""
    return spec(LinearDecoder, **choose(size, tiny={"stride": 4}, small={"stride": 8}, b16={"stride": 16}, reference={"stride": 32}))
