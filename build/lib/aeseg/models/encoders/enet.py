"""ENet's encoder: small, with early downsampling and dilated and asymmetric bottlenecks."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.models.bottlenecks import Bottleneck, Downsampling, activated, normalised
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, UserError


class ENet(nn.Module):
    """ENet's initial block and two stages of bottlenecks, each of which begins by halving the features.

    Paszke et al. 2016 (arXiv 1606.02147), section 3 and table 1. The pyramid holds the inputs of the downsamplings, at strides 2 and
    4, which give `ENetHead` the positions of the maxima, and the last features at stride 8. An odd last row or column is pooled
    alone, as in `VGG`. With that head, recipe("enet") has 363,434 parameters for 11 classes, 363,499 for 12 and 364,019 for 20 (the
    paper: 0.37 M).

    widths      channels of the initial block (convolution and pooled image together) and of the two stages
    first       number of bottlenecks in the first stage, after its downsampling
    section     dilation of each bottleneck in a section of the second stage; 0: an asymmetric bottleneck
    sections    number of sections in the second stage
    dropout     rates of channel dropout in the first and the second stage
    mean, std   standardise the image
    """

    widths: tuple[int, int, int] = (16, 64, 128)
    first: int = 4
    section: tuple[int, ...] = (1, 2, 0, 4, 1, 8, 0, 16)
    sections: int = 2
    dropout: tuple[float, float] = (0.01, 0.1)
    mean: tuple[float, ...] = (0.45,)
    std: tuple[float, ...] = (0.25,)
    dtype: str = "float32"

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], *, train: bool) -> Pyramid:
        image = layers.standardise(image, self.mean, self.std).astype(self.dtype)
        pyramid = {2: self._initial(image, train)}
        features = Downsampling(self.widths[1], self.dropout[0], dtype=self.dtype, name="down1")(pyramid[2], train=train)
        for index in range(self.first):
            features = Bottleneck(dropout=self.dropout[0], dtype=self.dtype, name=f"first{index}")(features, train=train)
        pyramid[4] = features
        features = Downsampling(self.widths[2], self.dropout[1], dtype=self.dtype, name="down2")(features, train=train)
        for index, dilation in enumerate(self.section * self.sections):
            kernels = ((3, 3),) if dilation else ((5, 1), (1, 5))
            bottleneck = Bottleneck(kernels, max(1, dilation), self.dropout[1], dtype=self.dtype, name=f"second{index}")
            features = bottleneck(features, train=train)
        return {**pyramid, 8: features}

    def _initial(self, image: Float[Array, "b h w c"], train: bool) -> Float[Array, "b _ _ _"]:
        """Concatenate a 3x3 convolution with stride 2 and the pooled image (figure 2a)."""
        width = self.widths[0] - image.shape[-1]
        if width < 1:
            raise UserError(
                f"ENet's initial block has {self.widths[0]} channels, of which the image takes {image.shape[-1]}; its convolution needs at "
                "least 1. Give a larger first number of widths."
            )
        convolved = layers.Convolution(width, 3, 2, use_bias=False, dtype=self.dtype, padding=((1, 1), (1, 1)), name="initial")(image)
        joined = jnp.concatenate([convolved, layers.max_pool(layers.even(image))], axis=-1)
        return activated(normalised(joined, "initial", train), "initial", "prelu")


def recipe(size: str = "small") -> ConfigDict:
    """Return the encoder of a size: tiny (tests), small (CPU), enet (the paper's)."""
    return spec(
        ENet,
        **choose(
            size,
            tiny={"widths": (8, 8, 12), "first": 1, "section": (2, 0), "sections": 1},
            small={"widths": (16, 32, 64), "first": 2, "sections": 1},
            enet={},
        ),
    )
