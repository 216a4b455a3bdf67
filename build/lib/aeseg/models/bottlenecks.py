"""Bottlenecks of ENet's encoder and head (Paszke et al. 2016, arXiv 1606.02147, section 3, figure 2b).

Each adds a branch to a main branch: a projection to a quarter of the channels, a convolution, an expansion and channel dropout. An
activation follows the sum. Batch norm follows every convolution; an activation follows every norm but the one before the sum.
Choices that the paper leaves open follow the authors' code (e-lab/ENet-training, train/models/encoder.lua and decoder.lua): the
epsilon of batch norm, 1e-3, and the padding of the transposed convolution. Deviations from that code: kernels start from normal
distributions (He et al. 2015, or LeCun if no activation follows), and middle convolutions have no bias, which a norm cancels.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from aeseg.models import layers
from aeseg.types import UserError


class Bottleneck(nn.Module):
    """Bottleneck whose main branch is the input.

    kernels      (height, width) of the middle convolutions; ((5, 1), (1, 5)), without an activation between, is asymmetric
    dilation     dilation of the middle convolutions
    activation   prelu | relu
    """

    kernels: tuple[tuple[int, int], ...] = ((3, 3),)
    dilation: int = 1
    dropout: float = 0.1
    activation: str = "prelu"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, features: Float[Array, "b h w d"], *, train: bool) -> Float[Array, "b h w d"]:
        width = features.shape[-1]
        project = layers.Convolution(quarter(width), 1, use_bias=False, dtype=self.dtype, name="project")
        branch = activated(normalised(project(features), "project", train), "project", self.activation)
        for index, size in enumerate(self.kernels):
            branch = layers.DilatedConvolution(quarter(width), size, self.dilation, self.dtype, name=f"middle{index}")(branch)
        branch = expanded(self, activated(normalised(branch, "middle", train), "middle", self.activation), width, train)
        return activated(features + branch, "sum", self.activation)


class Downsampling(nn.Module):
    """Bottleneck that halves the features: the main branch is 2x2 max pooling, zero-padded to `width` channels; PReLU."""

    width: int
    dropout: float = 0.1
    dtype: str = "float32"

    @nn.compact
    def __call__(self, features: Float[Array, "b h w d"], *, train: bool) -> Float[Array, "b _ _ {self.width}"]:
        channels = features.shape[-1]
        if self.width < channels:
            raise UserError(
                f"Downsampling needs a width of at least the {channels} channels that it reads; its width is {self.width}. "
                "Set widths that do not shrink from stride to stride."
            )
        project = layers.Convolution(quarter(self.width), 2, 2, use_bias=False, dtype=self.dtype, name="project")
        branch = activated(normalised(project(features), "project", train), "project", "prelu")
        branch = layers.DilatedConvolution(quarter(self.width), dtype=self.dtype, name="middle0")(branch)
        branch = expanded(self, activated(normalised(branch, "middle", train), "middle", "prelu"), self.width, train)
        main = jnp.pad(layers.max_pool(layers.even(features)), ((0, 0), (0, 0), (0, 0), (0, self.width - channels)))
        return activated(main + branch, "sum", "prelu")


class Upsampling(nn.Module):
    """Bottleneck that doubles the features: a 1x1 convolution, unpooled to the maxima of `finer`, plus a transposed convolution."""

    dropout: float = 0.1
    activation: str = "prelu"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, features: Float[Array, "b _ _ d"], finer: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w c"]:
        h, w, width = finer.shape[1:]
        main = layers.Convolution(width, 1, use_bias=False, initialiser="lecun", dtype=self.dtype, name="main")(features)
        main = layers.max_unpool(normalised(main, "main", train), finer)
        project = layers.Convolution(quarter(width), 1, use_bias=False, dtype=self.dtype, name="project")
        branch = activated(normalised(project(features), "project", train), "project", self.activation)
        middle = layers.TransposedConvolution(
            quarter(width), 3, use_bias=False, initialiser="he", dtype=self.dtype, padding=1, name="middle0"
        )
        branch = activated(normalised(middle(branch)[:, :h, :w], "middle", train), "middle", self.activation)
        return activated(main + expanded(self, branch, width, train), "sum", self.activation)


class PReLU(nn.Module):
    """max(0, x) + slope min(0, x), with a learned slope per channel that starts at 0.25 (He et al. 2015, equation 1)."""

    @nn.compact
    def __call__(self, features: Float[Array, "b h w d"]) -> Float[Array, "b h w d"]:
        slope = self.param("slope", nn.initializers.constant(0.25), features.shape[-1:]).astype(features.dtype)
        return jnp.where(features > 0, features, features * slope.reshape(1, 1, 1, -1))


def quarter(width: int) -> int:
    """Return the inner channels of a bottleneck: a quarter of its output channels, as in the authors' code."""
    return max(1, width // 4)


def normalised(features: Float[Array, "b h w d"], name: str, train: bool) -> Float[Array, "b h w d"]:
    """Apply batch norm with epsilon 1e-3. Call inside a compact method."""
    return layers.normalise(features, "batch", train=train, dtype=features.dtype.name, name=f"{name}_norm", epsilon=1e-3)


def activated(features: Float[Array, "b h w d"], name: str, activation: str) -> Float[Array, "b h w d"]:
    """Apply PReLU or ReLU. Call inside a compact method."""
    return PReLU(name=f"{name}_activation")(features) if activation == "prelu" else nn.relu(features)


def expanded(module: nn.Module, branch: Float[Array, "b h w _"], width: int, train: bool) -> Float[Array, "b h w {width}"]:
    """Apply the end of a bottleneck's branch: a 1x1 convolution, batch norm and channel dropout."""
    branch = layers.Convolution(width, 1, use_bias=False, initialiser="lecun", dtype=module.dtype, name="expand")(branch)
    return layers.dropout(module, normalised(branch, "expand", train), module.dropout, train=train, whole=True)
