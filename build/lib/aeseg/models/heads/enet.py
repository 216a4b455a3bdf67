"""ENet's decoder: unpooling with the positions of the maxima, and few bottlenecks."""

import flax.linen as nn
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.models.bottlenecks import Bottleneck, Upsampling
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, doubling_strides


class ENetHead(nn.Module):
    """Upsampling bottlenecks from the coarsest to the finest stride, each followed by bottlenecks, and a full convolution.

    Paszke et al. 2016 (arXiv 1606.02147), section 3 and table 1. The full convolution doubles the size, with the 2x2 kernel of the
    authors' code (decoder.lua; the table omits it), so the logits have half the finest stride: 1 on `ENet`. If the finest stride is
    already 1 (`VGG`), a 3x3 convolution replaces it. Activation and dropout are the paper's: PReLU "between all convolutions", 0.1
    from bottleneck 2.0 on. The authors' code uses ReLU and no dropout here: recipe("authors").

    bottlenecks   number of bottlenecks after each upsampling but the last
    last          number of bottlenecks after the last upsampling
    dropout       rate of channel dropout
    activation    prelu | relu
    """

    classes: int
    bottlenecks: int = 2
    last: int = 1
    dropout: float = 0.1
    activation: str = "prelu"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, pyramid: Pyramid, *, train: bool) -> Pyramid:
        coarsest, *strides = doubling_strides(pyramid, "ENetHead")
        features = pyramid[coarsest].astype(self.dtype)
        finest = strides[-1]
        for stride in strides:
            up = Upsampling(self.dropout, self.activation, self.dtype, name=f"up{stride}")
            features = up(features, pyramid[stride], train=train)
            for index in range(self.last if stride == finest else self.bottlenecks):
                further = Bottleneck(dropout=self.dropout, activation=self.activation, dtype=self.dtype, name=f"level{stride}_{index}")
                features = further(features, train=train)
        if finest == 1:
            return {1: layers.Convolution(self.classes, 3, initialiser="lecun", dtype=self.dtype, name="logits")(features)}
        return {finest // 2: layers.UpConvolution(self.classes, dtype=self.dtype, name="logits")(features)}


def recipe(size: str = "small", classes: int = 2) -> ConfigDict:
    """Return the head of a size: tiny (tests), small (CPU), enet (the paper's), authors (their code, which differs)."""
    small = {"bottlenecks": 1}
    return spec(ENetHead, classes=classes, **choose(size, tiny=small, small=small, enet={}, authors={"activation": "relu", "dropout": 0.0}))
