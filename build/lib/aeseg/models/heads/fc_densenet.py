"""The upsampling path of FC-DenseNet ("Tiramisu")."""

import flax.linen as nn
import jax.numpy as jnp
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.models.dense_block import DenseBlock
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, check_each, doubling_strides


class FCDenseNetHead(nn.Module):
    """Transposed convolutions, each concatenated with the encoder's features, and dense blocks that pass on only new features.

    Jegou et al. 2017, section 3.2 and table 2. The head goes from the coarsest to the finest stride. The last block is concatenated
    with its input, and a 1x1 convolution returns the logits.

    depths   layers of the block at each stride, coarse to fine; one number applies to all strides
    growth   channels that a layer adds
    """

    classes: int
    depths: tuple[int, ...] = (4,)
    growth: int = 12
    dropout: float = 0.2
    dtype: str = "float32"

    @nn.compact
    def __call__(self, pyramid: Pyramid, *, train: bool) -> Pyramid:
        coarsest, *strides = doubling_strides(pyramid, "FCDenseNetHead")
        depths = self.depths * len(strides) if len(self.depths) == 1 else self.depths
        check_each(depths, strides, "FCDenseNetHead has depths", "depth for each, coarse to fine, or one for all")
        new = pyramid[coarsest].astype(self.dtype)
        for stride, depth in zip(strides, depths, strict=True):
            up = layers.TransposedConvolution(new.shape[-1], 3, initialiser="he", dtype=self.dtype, name=f"up{stride}")(new)
            h, w = pyramid[stride].shape[1:3]
            features = jnp.concatenate([up[:, :h, :w], pyramid[stride].astype(self.dtype)], axis=-1)
            new = DenseBlock(depth, self.growth, self.dropout, self.dtype, name=f"level{stride}")(features, train=train)
        score = layers.Convolution(self.classes, size=1, initialiser="lecun", dtype=self.dtype, name="logits")
        return {strides[-1]: score(jnp.concatenate([features, new], axis=-1))}


def recipe(size: str = "small", classes: int = 2) -> ConfigDict:
    """Return the head of a size: tiny (tests), small (CPU), 56, 67, 103 (the paper's, named by number of layers)."""
    return spec(
        FCDenseNetHead,
        classes=classes,
        **choose(
            size,
            tiny={"depths": (1,), "growth": 4},
            small={"depths": (3,), "growth": 8},
            **{"56": {}, "67": {"depths": (5,), "growth": 16}, "103": {"depths": (12, 10, 7, 5, 4), "growth": 16}},
        ),
    )
