"""The dense block of FC-DenseNet's encoder and head."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from aeseg.models import layers


class DenseBlock(nn.Module):
    """`depth` layers of `growth` channels, each of which reads the input and all previous layers; returns their concatenated outputs.

    A layer is batch norm, ReLU, a 3x3 convolution and dropout (Jegou et al. 2017, table 1, "Layer").
    """

    depth: int
    growth: int
    dropout: float = 0.2
    dtype: str = "float32"

    @nn.compact
    def __call__(self, features: Float[Array, "b h w d"], *, train: bool) -> Float[Array, "b h w {self.depth}*{self.growth}"]:
        outputs: list[Array] = []
        for index in range(self.depth):
            layer = DenseLayer(self.growth, 3, self.dropout, self.dtype, name=f"layer{index}")
            outputs.append(layer(jnp.concatenate([features, *outputs], axis=-1), train=train))
        return jnp.concatenate(outputs, axis=-1)


class DenseLayer(nn.Module):
    """Batch norm, ReLU, a convolution and dropout; with a 1x1 convolution, the first half of a transition down."""

    features: int
    size: int = 3
    dropout: float = 0.2
    dtype: str = "float32"

    @nn.compact
    def __call__(self, features: Float[Array, "b h w d"], *, train: bool) -> Float[Array, "b h w _"]:
        features = nn.relu(layers.normalise(features, "batch", train=train, dtype=self.dtype, name="norm"))
        features = layers.Convolution(self.features, self.size, dtype=self.dtype, name="convolution")(features)
        return layers.dropout(self, features, self.dropout, train=train)
