"""A fully connected encoder for images of one size: the baseline that shows the value of convolution."""

import math
from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, UserError


class DenseEncoder(nn.Module):
    """Fully connected layers with ReLU on all pixels.

    The last layer has h / stride * w / stride * width units, reshaped to a grid for the head; only training relates a unit to its
    position. The pyramid holds one stride, so heads that join several strides (U-Net) cannot read it. The kernels depend on the
    size of the image, which is fixed by the first image.

    hidden     units of the layers before the last
    width      features of each cell of the grid
    stride     side of a cell in pixels; the size of the image gives one vector for the whole image
    mean, std  standardise the image; (0,), (1,) leave it in [0, 1]
    """

    one_size: ClassVar[bool] = True
    """Whether positions or layers are made for one size of image, so that larger windows are not scored."""

    hidden: tuple[int, ...] = (256,)
    width: int = 16
    stride: int = 8
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    dtype: str = "float32"

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], *, train: bool) -> Pyramid:
        b, h, w, _ = image.shape
        if h % self.stride or w % self.stride:
            raise UserError(
                f"DenseEncoder with stride {self.stride} takes sizes divisible by {self.stride}; the image is {h} x {w}. "
                "Resize it, or set the encoder's stride to a divisor of both sides."
            )
        grid = (h // self.stride, w // self.stride, self.width)
        features = layers.standardise(image, self.mean, self.std).astype(self.dtype).reshape(b, -1)
        for index, units in enumerate((*self.hidden, math.prod(grid))):
            features = nn.relu(layers.dense(self, features, units, f"dense{index}"))
        return {self.stride: features.reshape(b, *grid)}


def recipe(size: str = "small") -> ConfigDict:
    """Return the encoder of a size: tiny (tests; stride 4), small (images up to about 64 x 64), reference (widest for a CPU)."""
    return spec(
        DenseEncoder,
        **choose(
            size,
            tiny={"hidden": (8,), "width": 4, "stride": 4},
            small={"hidden": (256,), "width": 16},
            reference={"hidden": (1024,), "width": 32},
        ),
    )
