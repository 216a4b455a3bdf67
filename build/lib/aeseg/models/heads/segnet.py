"""SegNet's decoder: unpooling with the positions of the maxima."""

import flax.linen as nn
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, check_each, doubling_strides


class SegNetHead(nn.Module):
    """Unpools features to the positions of the encoder's maxima; convolutions fill the gaps (Badrinarayanan et al. 2017, section 3.1).

    From the coarsest to the finest stride: index unpooling (`layers.max_unpool`), then convolutions with batch norm, of which the last
    has the channels of the next finer stride. A convolution returns the logits. If an encoder's channels differ from those of its
    finer stride, a 1x1 convolution (`bridge`) adapts them. With `VGG` and 11 classes, recipe("vgg16") has 29,449,355 parameters and
    recipe("basic") 1,416,587.

    convolutions   number of convolutions after each unpooling, coarse to fine; (): one each
    size           kernel size of these convolutions
    relu           apply ReLU after each batch norm; SegNet-Basic's decoder does not (section 3.1)
    depthwise      use depthwise convolutions (SegNet-SingleChannelDecoder)
    addition       add the encoder's pooled features to the output of the convolutions, except at the finest stride, to which nothing
                   was pooled (SegNet-Basic-EncoderAddition; figure 3 and table 1, storage)
    last           kernel size of the convolution to the logits
    dropout        rate of dropout after the first `dropout_levels` strides; 0: none. Bayesian SegNet (Kendall et al. 2015, arXiv
                   1511.02680, section 3, and the authors' prototxts): 0.5 at three of SegNet's five, and two of SegNet-Basic's four
    """

    classes: int
    convolutions: tuple[int, ...] = ()
    size: int = 3
    relu: bool = True
    depthwise: bool = False
    addition: bool = False
    last: int = 3
    norm: str = "batch"
    dropout: float = 0.0
    dropout_levels: int = 3
    dtype: str = "float32"

    @nn.compact
    def __call__(self, pyramid: Pyramid, *, train: bool) -> Pyramid:
        coarsest, *strides = doubling_strides(pyramid, "SegNetHead")
        numbers = self.convolutions or (1,) * len(strides)
        check_each(numbers, strides, "SegNetHead has convolutions", "number for each, coarse to fine, or () for one convolution each")
        channels = [pyramid[stride].shape[-1] for stride in strides]
        features = pyramid[coarsest].astype(self.dtype)
        levels = zip(strides, numbers, channels, [*channels[1:], channels[-1]], strict=True)
        for level, (stride, number, width, following) in enumerate(levels):
            features = layers.max_unpool(self._fitted(features, width, f"bridge{stride}"), pyramid[stride])
            for index in range(number):
                channels_out = following if index == number - 1 else width
                features = self._convolved(features, channels_out, f"level{stride}_{index}", train)
            if self.addition and stride != strides[-1]:
                features = features + layers.max_pool(layers.even(pyramid[stride // 2])).astype(self.dtype)
            if level < self.dropout_levels:
                features = layers.dropout(self, features, self.dropout, train=train)
        score = layers.Convolution(self.classes, size=self.last, initialiser="lecun", dtype=self.dtype, name="logits")
        return {strides[-1]: score(features)}

    def _fitted(self, features: Float[Array, "b h w d"], width: int, name: str) -> Float[Array, "b h w _"]:
        """Change the number of channels by a 1x1 convolution, if it differs."""
        if features.shape[-1] == width:
            return features
        return layers.Convolution(width, size=1, initialiser="lecun", dtype=self.dtype, name=name)(features)

    def _convolved(self, features: Float[Array, "b h w d"], width: int, name: str, train: bool) -> Float[Array, "b h w _"]:
        if self.depthwise:
            features = layers.DepthwiseConvolution(self.size, "he", self.dtype, name=f"{name}_convolution")(features)
        else:
            features = layers.Convolution(width, self.size, dtype=self.dtype, name=f"{name}_convolution")(features)
        features = layers.normalise(features, self.norm, train=train, dtype=self.dtype, name=f"{name}_norm")
        return nn.relu(features) if self.relu else features


def recipe(size: str = "small", classes: int = 2) -> ConfigDict:
    """Return the head of a size: tiny (tests), small (CPU), vgg16 (SegNet), basic, addition, single (SegNet-Basic and variants).

    bayesian and bayesian_basic are vgg16 and basic with the dropout of Bayesian SegNet.
    """
    vgg16 = {"convolutions": (3, 3, 3, 2, 1)}
    basic = {"size": 7, "relu": False, "last": 1}
    return spec(
        SegNetHead,
        classes=classes,
        **choose(
            size,
            tiny={"size": 3, "last": 1},
            small={"size": 3, "last": 1},
            vgg16=vgg16,
            basic=basic,
            addition={**basic, "addition": True},
            single={**basic, "depthwise": True},
            bayesian={**vgg16, "dropout": 0.5},
            bayesian_basic={**basic, "dropout": 0.5, "dropout_levels": 2},
        ),
    )
