"""Linear classification of each cell: a linear probe of a pretrained encoder."""

import flax.linen as nn
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, at_stride


class LinearHead(nn.Module):
    """Batch norm and a 1x1 convolution at one stride (the linear probe of DINOv2, Oquab et al. 2023, section 7.4).

    The norm makes encoders of any output scale comparable under one learning rate. Its scale and offset add no capacity to the linear
    map.
    """

    classes: int
    stride: int = 8
    dtype: str = "float32"

    @nn.compact
    def __call__(self, pyramid: Pyramid, *, train: bool) -> Pyramid:
        features = at_stride(pyramid, self.stride, "LinearHead").astype(self.dtype)
        features = layers.normalise(features, "batch", train=train, dtype=self.dtype, name="norm")
        return {self.stride: layers.Convolution(self.classes, size=1, initialiser="lecun", dtype=self.dtype, name="logits")(features)}


def recipe(size: str = "small", classes: int = 2) -> ConfigDict:
    """Return the head of a size: tiny (tests; reads stride 4), small (reads stride 8)."""
    return spec(LinearHead, classes=classes, **choose(size, tiny={"stride": 4}, small={"stride": 8}))
