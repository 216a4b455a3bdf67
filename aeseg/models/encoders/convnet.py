"""A plain convolutional encoder: the reference autoencoder's, and the contracting path of U-Net."""

from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array, Bool, Float
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.spec import choose, spec
from aeseg.types import Pyramid


class ConvNet(nn.Module):
    """Levels of 3x3 convolutions with ReLU, each followed by 2x2 max pooling.

    The reference autoencoder has one convolution in each of three levels of 64, 128, 256 channels; U-Net (Ronneberger et
    al. 2015, figure 1, but with SAME padding and without the dropout at the path's end that section 3.1 names) two in
    each of 64, 128, 256, 512, and two of 1024 after the last pooling.

    The pyramid holds what each level gives before its pooling, at strides 1, 2, 4, ..., and at the last
    stride, 2 ** len(widths), the pooled features, or what the `bottleneck` makes of them.

    widths        channels of each level
    convolutions  convolutions in each level, and in the bottleneck
    bottleneck    channels of a further level after the last pooling; 0: none
    norm          none | batch | group | layer, between convolution and ReLU
    mean, std     the image is standardised by these; (0,), (1,) leave it in [0, 1]

    `hidden` [b i j] hides units of the image: the pyramid is zero there, and nothing there influences the rest of it.
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
    """tiny (tests), small (a CPU), reference (the reference autoencoder's), unet (U-Net's contracting path)."""
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
