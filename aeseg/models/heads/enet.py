"""ENet's decoder: it climbs with the places that the poolings took their maxima from, in few bottlenecks."""

import flax.linen as nn
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.models.bottlenecks import Bottleneck, Upsampling
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, doubling_strides


class ENetHead(nn.Module):
    """Upsampling bottlenecks from the coarsest stride to the finest, each with further ones after it; ReLU, not PReLU.

    Paszke et al. 2016 (arXiv 1606.02147), section 3 and table 1.  At last a bare full convolution doubles the size: logits at half the
    finest stride, 1 on `ENet`; where that is 1 already (`VGG`) a convolution makes them there.  Its kernel is 3x3, which the table does
    not say.

    bottlenecks   after each upsampling but the last
    last          after the last one
    """

    classes: int
    bottlenecks: int = 2
    last: int = 1
    dropout: float = 0.1
    dtype: str = "float32"

    @nn.compact
    def __call__(self, pyramid: Pyramid, *, train: bool) -> Pyramid:
        coarsest, *strides = doubling_strides(pyramid, "ENetHead")
        features = pyramid[coarsest].astype(self.dtype)
        finest = strides[-1]
        for stride in strides:
            features = Upsampling(self.dropout, dtype=self.dtype, name=f"up{stride}")(features, pyramid[stride], train=train)
            for place in range(self.last if stride == finest else self.bottlenecks):
                bottleneck = Bottleneck(dropout=self.dropout, activation="relu", dtype=self.dtype, name=f"level{stride}_{place}")
                features = bottleneck(features, train=train)
        kind = layers.Convolution if finest == 1 else layers.TransposedConvolution
        logits = kind(self.classes, 3, initialiser="lecun", dtype=self.dtype, name="logits")(features)
        return {max(1, finest // 2): logits}


def recipe(size: str = "small", classes: int = 2) -> ConfigDict:
    """tiny (tests), small (a CPU), enet (the paper's)."""
    return spec(ENetHead, classes=classes, **choose(size, tiny={"bottlenecks": 1}, small={"bottlenecks": 1}, enet={}))
