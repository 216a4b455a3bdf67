"""A fully connected encoder of images of one size, for the question what convolution buys."""

import math

import flax.linen as nn
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, UserError


class DenseEncoder(nn.Module):
    """All pixels into fully connected layers with ReLU.

    The last layer has h / stride * w / stride * width units and is laid out as a grid, so that heads can read it; nothing but
    training ties a unit to its place.  The pyramid holds this one stride: heads that join several (U-Net) cannot read it.
    The image's size is that of the first image it sees: the kernels depend on it.

    hidden     units of the layers before the last
    width      features of each cell of the grid
    stride     pixels along the side of a cell; as large as the image: one vector for the whole of it
    mean, std  the image is standardised by these; (0,), (1,) leave it in [0, 1]
    """

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
        for place, units in enumerate((*self.hidden, math.prod(grid))):
            features = nn.relu(layers.dense(self, features, units, f"dense{place}"))
        return {self.stride: features.reshape(b, *grid)}


def recipe(size: str = "small") -> ConfigDict:
    """tiny (tests; sizes divisible by 4), small (images up to about 64 x 64), reference (the widest that trains on a CPU)."""
    return spec(
        DenseEncoder,
        **choose(
            size,
            tiny={"hidden": (8,), "width": 4, "stride": 4},
            small={"hidden": (256,), "width": 16},
            reference={"hidden": (1024,), "width": 32},
        ),
    )
