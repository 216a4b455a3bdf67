"""The decoders that SegNet-Basic is compared with: upsampling without the positions of maxima."""

import flax.linen as nn
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, doubling_strides


class FCNBasicHead(nn.Module):
    """FCN-Basic and its variants (Badrinarayanan et al. 2017, section 3.1 and table 1), after Long et al. 2015.

    From the coarsest to the finest stride, features are upsampled by 2, and the encoder's pooled features of that stride are added.
    Nothing is added at the finest stride, to which nothing was pooled (figure 3: "the output of the max-pooling layer", of which the
    largest has half the size of the image).

    reduction   reduce the encoder's features to one channel per class with a 1x1 convolution before upsampling and addition; without
                it (-NoDimReduction), a 1x1 convolution at the end returns the logits
    addition    add the encoder's features; without it (-NoAddition), only the coarsest features are used
    learnt      upsample with a transposed convolution of `size` pixels, 8 in the paper, that starts as bilinear interpolation;
                without it (Bilinear-Interpolation), upsampling stays bilinear
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
    """Return the head of a size: tiny (tests), small (FCN-Basic), or a variant: unadded, unreduced, plain (neither), bilinear."""
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
