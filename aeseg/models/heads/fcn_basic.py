"""The decoders that SegNet-Basic's was compared with: they upsample, and carry no places of maxima."""

import flax.linen as nn
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, doubling_strides


class FCNBasicHead(nn.Module):
    """FCN-Basic and its variants (Badrinarayanan et al. 2017, section 3.1 and table 1), after Long et al. 2015.

    From the coarsest stride of the pyramid to the finest: upsampling by 2, and what the encoder pooled to that stride added (figure 3:
    "the output of the max-pooling layer", of which the largest has half the image's size); so nothing is added at the finest.

    reduction   a 1x1 convolution makes the encoder's features as many channels as classes before they are upsampled or added; without
                (-NoDimReduction) one at the end makes the logits
    addition    the encoder's features are added; without (-NoAddition) the coarsest alone make the logits
    learnt      upsampling is a transposed convolution of `size` pixels, the paper's 8, which starts at bilinear; without
                (Bilinear-Interpolation) it stays bilinear
    """

    classes: int
    reduction: bool = True
    addition: bool = True
    learnt: bool = True
    size: int = 8
    dtype: str = "float32"

    @nn.compact
    def __call__(self, pyramid: Pyramid, *, train: bool) -> Pyramid:
        coarsest, *strides = doubling_strides(pyramid, "FCNBasicHead")
        features = pyramid[coarsest].astype(self.dtype)
        if self.reduction:
            features = self._pointwise(features, self.classes, f"reduction{coarsest}")
        for stride in strides:
            h, w = pyramid[stride].shape[1:3]
            features = self._upsampled(features, f"up{stride}")[:, :h, :w]
            if self.addition and stride != strides[-1]:
                added = layers.max_pool(layers.even(pyramid[stride // 2])).astype(self.dtype)
                if self.reduction or added.shape[-1] != features.shape[-1]:
                    added = self._pointwise(added, features.shape[-1], f"reduction{stride}")
                features = features + added
        return {strides[-1]: features if self.reduction else self._pointwise(features, self.classes, "logits")}

    def _pointwise(self, features: Float[Array, "b h w d"], width: int, name: str) -> Float[Array, "b h w _"]:
        return layers.Convolution(width, size=1, initialiser="lecun", dtype=self.dtype, name=name)(features)

    def _upsampled(self, features: Float[Array, "b h w d"], name: str) -> Float[Array, "b 2*h 2*w d"]:
        if self.learnt:
            width = features.shape[-1]
            return layers.TransposedConvolution(width, self.size, initialiser="bilinear", dtype=self.dtype, name=name)(features)
        return layers.resize(features, 2 * features.shape[1], 2 * features.shape[2])


def recipe(size: str = "small", classes: int = 2) -> ConfigDict:
    """tiny (tests), small (FCN-Basic), unadded, unreduced, plain (neither), bilinear (Bilinear-Interpolation)."""
    return spec(
        FCNBasicHead,
        classes=classes,
        **choose(
            size,
            tiny={"size": 4},
            small={},
            unadded={"addition": False},
            unreduced={"reduction": False},
            plain={"addition": False, "reduction": False},
            bilinear={"addition": False, "learnt": False},
        ),
    )
