"""A plain convolutional encoder: the reference autoencoder, and the contracting path of U-Net."""

from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array, Bool, Float
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.spec import choose, spec
from aeseg.types import Pyramid


class ConvNet(nn.Module):
    """Levels of 3x3 convolutions with ReLU, each followed by 2x2 max pooling.

    The reference autoencoder has three levels of one convolution, with 64, 128 and 256 channels. U-Net (Ronneberger et al.
    2015, figure 1) has levels of two convolutions, with 64, 128, 256 and 512 channels, and two of 1024 after the last pooling.
    Deviations: SAME padding, and no dropout at the end of the path (section 3.1).

    The pyramid holds the output of each level before pooling, at strides 1, 2, 4, ..., and at the last stride,
    2 ** len(widths), the pooled features or the output of the `bottleneck`.

    widths        channels of each level
    convolutions  number of convolutions in each level and in the bottleneck
    bottleneck    channels of a further level after the last pooling; 0: none
    norm          none | batch | group | layer, between convolution and ReLU
    mean, std     standardise the image; (0,), (1,) leave it in [0, 1]

    `hidden` [b i j] hides units of the image: the pyramid is zero there, and hidden pixels do not affect the rest.
    """

    masked_mode: ClassVar[str] = "sparse"

    widths: tuple[int, ...] = (64, 128, 256)
    convolutions: int = 1
    bottleneck: int = 0
    norm: str = "none"
    use_bias: bool = True
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    dtype: str = "float32"

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], *, train: bool, hidden: Bool[Array, "b i j"] | None = None) -> Pyramid:
        depth = len(self.widths)
        layers.check_size(image, 2**depth, f"ConvNet with {depth} poolings", "fewer widths")
        layers.check_hidden(image, hidden, 2**depth, "ConvNet")
        features = layers.visible_only(layers.standardise(image, self.mean, self.std).astype(self.dtype), hidden)
        pyramid = {}
        for level, width in enumerate(self.widths):
            features = self._block(width, f"level{level}")(features, train=train, hidden=hidden)
            pyramid[2**level] = features
            features = layers.max_pool(features)
        if self.bottleneck:
            features = self._block(self.bottleneck, "bottleneck_level")(features, train=train, hidden=hidden)
        pyramid[2**depth] = features
        return pyramid

    def _block(self, width: int, name: str) -> layers.ConvolutionBlock:
        return layers.ConvolutionBlock(width, self.convolutions, self.norm, self.use_bias, self.dtype, name=name)


def recipe(size: str = "small") -> ConfigDict:
    """Return the encoder of a size: tiny (tests), small (CPU), reference (the autoencoder), unet (U-Net's contracting path)."""
    return spec(
        ConvNet,
        **choose(
            size,
            tiny={"widths": (4, 8)},
            small={
                "widths": (16, 32, 64),
                "convolutions": 2,
                "bottleneck": 128,
                "norm": "batch",
                "mean": (0.45,),
                "std": (0.25,),
            },
            reference={"widths": (64, 128, 256)},
            unet={"widths": (64, 128, 256, 512), "convolutions": 2, "bottleneck": 1024},
        ),
    )
