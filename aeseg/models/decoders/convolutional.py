"""The reference autoencoder's decoder: convolutions and nearest upsampling."""

import flax.linen as nn
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, at_stride


class ConvolutionalDecoder(nn.Module):
    """3x3 convolutions with ReLU, each followed by nearest upsampling by 2; a last 3x3 convolution to `channels`.

    Mirrors `ConvNet`: reads stride 2 ** len(widths) only, gives stride 1.  Values are unbounded: the method applies the
    sigmoid of the reference, so that binary cross-entropy works on logits.
    """

    widths: tuple[int, ...] = (256, 128, 64)
    channels: int = 3
    norm: str = "none"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, pyramid: Pyramid, *, train: bool) -> Float[Array, "b h w _"]:
        features = at_stride(pyramid, 2 ** len(self.widths), "ConvolutionalDecoder").astype(self.dtype)
        # Each upsampling goes with the convolution after it: layers.UpsampledConvolution is both in one.
        for place, width in enumerate(self.widths):
            convolution = layers.UpsampledConvolution if place else layers.Convolution
            features = convolution(width, dtype=self.dtype, name=f"convolution{place}")(features)
            features = nn.relu(layers.normalise(features, self.norm, train=train, dtype=self.dtype, name=f"norm{place}"))
        last = layers.UpsampledConvolution if self.widths else layers.Convolution
        return last(self.channels, initialiser="lecun", dtype=self.dtype, name="last")(features)


def recipe(size: str = "small") -> ConfigDict:
    """tiny (tests; reads stride 4), small (reads stride 8; a CPU), reference (the reference autoencoder's; stride 8)."""
    return spec(
        ConvolutionalDecoder,
        **choose(size, tiny={"widths": (8, 4)}, small={"widths": (64, 32, 16), "norm": "batch"}, reference={"widths": (256, 128, 64)}),
    )
