"""The downsampling path of FC-DenseNet ("Tiramisu")."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.models.dense_block import DenseBlock, DenseLayer
from aeseg.spec import choose, spec
from aeseg.types import Pyramid


class FCDenseNet(nn.Module):
    """Dense blocks, each concatenated with its input and halved by a transition, and a bottleneck block without its input.

    Jegou et al. 2017 ("The One Hundred Layers Tiramisu"), section 3 and table 2. The pyramid holds the skip connections, at strides
    1, 2, 4, ..., and at the last stride only the new features of the bottleneck. With `FCDenseNetHead` and 11 classes,
    recipe("56"), recipe("67") and recipe("103") have 1,376,795, 3,463,243 and 9,322,091 parameters.

    depths       layers of each block; the last is the bottleneck
    growth       channels that a layer adds
    width        channels of the first convolution
    mean, std    standardise the image

    Deviations: kernels start from a normal distribution (the paper: uniform, with the same variance); an odd last row or column is
    pooled alone (the authors' code drops it).
    """

    depths: tuple[int, ...] = (4, 4, 4, 4, 4, 4)
    growth: int = 12
    width: int = 48
    dropout: float = 0.2
    mean: tuple[float, ...] = (0.45,)
    std: tuple[float, ...] = (0.25,)
    dtype: str = "float32"

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], *, train: bool) -> Pyramid:
        *depths, bottleneck = self.depths
        image = layers.standardise(image, self.mean, self.std).astype(self.dtype)
        features = layers.Convolution(self.width, dtype=self.dtype, name="stem")(image)
        pyramid = {}
        for level, depth in enumerate(depths):
            features = jnp.concatenate([features, self._block(depth, f"level{level}")(features, train=train)], axis=-1)
            pyramid[2**level] = features
            transition = DenseLayer(features.shape[-1], 1, self.dropout, self.dtype, name=f"down{level}")
            features = layers.max_pool(layers.even(transition(features, train=train)))
        return {**pyramid, 2 ** len(depths): self._block(bottleneck, "bottleneck")(features, train=train)}

    def _block(self, depth: int, name: str) -> DenseBlock:
        return DenseBlock(depth, self.growth, self.dropout, self.dtype, name=name)


def recipe(size: str = "small") -> ConfigDict:
    """Return the encoder of a size: tiny (tests), small (CPU), 56, 67, 103 (the paper's, named by number of layers)."""
    return spec(
        FCDenseNet,
        **choose(
            size,
            tiny={"depths": (1, 1, 2), "growth": 4, "width": 4},
            small={"depths": (2, 2, 3, 3), "growth": 8, "width": 16},
            **{"56": {}, "67": {"depths": (5,) * 6, "growth": 16}, "103": {"depths": (4, 5, 7, 10, 12, 15), "growth": 16}},
        ),
    )
