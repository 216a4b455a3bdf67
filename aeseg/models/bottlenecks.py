"""The bottlenecks of ENet, which its encoder and its head are made of (Paszke et al. 2016, arXiv 1606.02147, section 3, figure 2b).

Each adds to a main branch another one: a projection to a quarter of the channels, a convolution, an expansion, dropout of whole
channels; an activation follows the sum.  Batch norm stands after every convolution, an activation between two, and none before the
sum.  What the paper leaves open is as in the authors' code (e-lab/ENet-training, train/models/encoder.lua and decoder.lua): batch norm's
epsilon of 1e-3, the padding of the transposed convolution.  Deviations from that code: kernels start from normal distributions (He et
al. 2015, or LeCun's where no activation follows), and the middle convolutions have no bias, which their norm would take away.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from aeseg.models import layers
from aeseg.types import UserError


class Bottleneck(nn.Module):
    """The main branch is the input itself.

    kernels      (height, width) of the middle convolutions; an asymmetric bottleneck has ((5, 1), (1, 5)), and nothing between
    dilation     of all of them
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
        for place, size in enumerate(self.kernels):
            branch = layers.DilatedConvolution(quarter(width), size, self.dilation, self.dtype, name=f"middle{place}")(branch)
        branch = expanded(self, activated(normalised(branch, "middle", train), "middle", self.activation), width, train)
        return activated(features + branch, "sum", self.activation)


class Downsampling(nn.Module):
    """2x2 max pooling, with channels of zeros up to `width`; the projection is a 2x2 convolution with stride 2; PReLU."""

    width: int
    dropout: float = 0.1
    dtype: str = "float32"

    @nn.compact
    def __call__(self, features: Float[Array, "b h w d"], *, train: bool) -> Float[Array, "b _ _ {self.width}"]:
        given = features.shape[-1]
        if self.width < given:
            raise UserError(
                f"Downsampling adds channels of zeros, so it gives at least the {given} channels that it reads; its width is {self.width}. "
                "Set widths that do not shrink from stride to stride."
            )
        project = layers.Convolution(quarter(self.width), 2, 2, use_bias=False, dtype=self.dtype, name="project")
        branch = activated(normalised(project(features), "project", train), "project", "prelu")
        branch = layers.DilatedConvolution(quarter(self.width), dtype=self.dtype, name="middle0")(branch)
        branch = expanded(self, activated(normalised(branch, "middle", train), "middle", "prelu"), self.width, train)
        main = jnp.pad(layers.max_pool(layers.even(features)), ((0, 0), (0, 0), (0, 0), (0, self.width - given)))
        return activated(main + branch, "sum", "prelu")


class Upsampling(nn.Module):
    """A 1x1 convolution to the channels of `finer`, unpooled to where its maxima were; the middle convolution is transposed."""

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
    """max(0, x) + slope min(0, x), a slope for each channel, which starts at 0.25 (He et al. 2015, equation 1)."""

    @nn.compact
    def __call__(self, features: Float[Array, "b h w d"]) -> Float[Array, "b h w d"]:
        slope = self.param("slope", nn.initializers.constant(0.25), features.shape[-1:]).astype(features.dtype)
        return jnp.where(features > 0, features, features * slope.reshape(1, 1, 1, -1))


def quarter(width: int) -> int:
    """The channels between projection and expansion: a quarter of those that the bottleneck gives, as in the authors' code."""
    return max(1, width // 4)


def normalised(features: Float[Array, "b h w d"], name: str, train: bool) -> Float[Array, "b h w d"]:
    """Batch norm, epsilon 1e-3.  Call it inside a module."""
    return layers.normalise(features, "batch", train=train, dtype=features.dtype.name, name=f"{name}_norm", epsilon=1e-3)


def activated(features: Float[Array, "b h w d"], name: str, activation: str) -> Float[Array, "b h w d"]:
    """PReLU or ReLU.  Call it inside a module."""
    return PReLU(name=f"{name}_activation")(features) if activation == "prelu" else nn.relu(features)


def expanded(module: nn.Module, branch: Float[Array, "b h w _"], width: int, train: bool) -> Float[Array, "b h w {width}"]:
    """The end of a bottleneck's branch: a 1x1 convolution, batch norm, dropout."""
    branch = layers.Convolution(width, 1, use_bias=False, initialiser="lecun", dtype=module.dtype, name="expand")(branch)
    return layers.dropout(module, normalised(branch, "expand", train), module.dropout, train=train, whole=True)
