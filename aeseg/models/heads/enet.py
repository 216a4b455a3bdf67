"""ENet's decoder: it climbs with the places that the poolings took their maxima from, in few bottlenecks."""

import flax.linen as nn
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.models.bottlenecks import Bottleneck, Upsampling
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, doubling_strides


class ENetHead(nn.Module):
    """Upsampling bottlenecks from the coarsest stride to the finest, each with further ones after it; at last a bare full convolution.

    Paszke et al. 2016 (arXiv 1606.02147), section 3 and table 1.  The full convolution doubles the size, with the 2x2 kernel of the
    authors' code (decoder.lua; the table does not say it): logits at half the finest stride, 1 on `ENet`; where that is 1 already (`VGG`)
    a 3x3 convolution makes them there.  Activation and dropout are the paper's: PReLU "between all convolutions", 0.1 from bottleneck 2.0
    on.  The authors' code has ReLU and no dropout here: recipe("authors").

    bottlenecks   after each upsampling but the last
    last          after the last one
    dropout       of whole channels
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
            for place in range(self.last if stride == finest else self.bottlenecks):
                further = Bottleneck(dropout=self.dropout, activation=self.activation, dtype=self.dtype, name=f"level{stride}_{place}")
                features = further(features, train=train)
        if finest == 1:
            return {1: layers.Convolution(self.classes, 3, initialiser="lecun", dtype=self.dtype, name="logits")(features)}
        return {finest // 2: layers.UpConvolution(self.classes, dtype=self.dtype, name="logits")(features)}


def recipe(size: str = "small", classes: int = 2) -> ConfigDict:
    """tiny (tests), small (a CPU), enet (the paper's), authors (their code's, which differs)."""
    small = {"bottlenecks": 1}
    return spec(ENetHead, classes=classes, **choose(size, tiny=small, small=small, enet={}, authors={"activation": "relu", "dropout": 0.0}))
