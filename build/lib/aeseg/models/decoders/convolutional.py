"""The decoder of the reference autoencoder: convolutions and nearest upsampling."""

import flax.linen as nn
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, at_stride


class ConvolutionalDecoder(nn.Module):
    """3x3 convolutions with ReLU, each followed by nearest upsampling by 2, and a last 3x3 convolution to `channels`.

    Mirrors `ConvNet`: reads stride 2 ** len(widths) only and returns stride 1. Values are unbounded: the method applies the sigmoid
    of the reference, so that binary cross-entropy gets logits.
    """

    widths: tuple[int, ...] = (256, 128, 64)
    channels: int = 3
    norm: str = "none"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, pyramid: Pyramid, *, train: bool) -> Float[Array, "b h w _"]:
        features = at_stride(pyramid, 2 ** len(self.widths), "ConvolutionalDecoder").astype(self.dtype)
        # layers.UpsampledConvolution fuses an upsampling with the convolution after it.
        for index, width in enumerate(self.widths):
            convolution = layers.UpsampledConvolution if index else layers.Convolution
            features = convolution(width, dtype=self.dtype, name=f"convolution{index}")(features)
            features = nn.relu(layers.normalise(features, self.norm, train=train, dtype=self.dtype, name=f"norm{index}"))
        last = layers.UpsampledConvolution if self.widths else layers.Convolution
        return last(self.channels, initialiser="lecun", dtype=self.dtype, name="last")(features)


def recipe(size: str = "small") -> ConfigDict:
    """Return the decoder of a size: tiny (tests; stride 4), small (CPU; stride 8), reference (the autoencoder; stride 8)."""
    return spec(
        ConvolutionalDecoder,
        **choose(size, tiny={"widths": (8, 4)}, small={"widths": (64, 32, 16), "norm": "batch"}, reference={"widths": (256, 128, 64)}),
    )
