"""The fully convolutional head."""

import flax.linen as nn
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, UserError, at_stride


class FCNHead(nn.Module):
    """Scores of the coarsest stride, upsampled and added to the scores of finer strides (Long et al. 2015, section 4.2).

    `convolutions` 3x3 convolutions of `width` channels and a 1x1 convolution score the coarsest of `strides`; a 1x1 convolution
    scores each other stride. The logits have the finest of `strides`: (32,) is FCN-32s, (32, 16, 8) FCN-8s. Deviations: upsampling is
    bilinear (the paper learns it from a bilinear start), and finer scores are initialised like other layers (the paper: at 0).
    """

    classes: int
    width: int = 128
    convolutions: int = 2
    strides: tuple[int, ...] = (8,)
    norm: str = "none"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, pyramid: Pyramid, *, train: bool) -> Pyramid:
        if not self.strides:
            raise UserError("FCNHead reads at least one stride; its strides are (). Name strides of the encoder.")
        coarsest, *finer = sorted(self.strides, reverse=True)
        features = at_stride(pyramid, coarsest, "FCNHead").astype(self.dtype)
        block = layers.ConvolutionBlock(self.width, self.convolutions, self.norm, dtype=self.dtype, name="block")
        logits = self._scores(coarsest)(block(features, train=train))
        for stride in finer:
            features = at_stride(pyramid, stride, "FCNHead").astype(self.dtype)
            logits = layers.resize(logits, *features.shape[1:3]) + self._scores(stride)(features)
        return {min(self.strides): logits}

    def _scores(self, stride: int) -> layers.Convolution:
        return layers.Convolution(self.classes, size=1, initialiser="lecun", dtype=self.dtype, name=f"logits{stride}")


def recipe(size: str = "small", classes: int = 2) -> ConfigDict:
    """Return the head of a size: tiny (tests; strides 4 and 2), small (stride 8), skips (strides 8, 4 and 2), reference (FCN-8s)."""
    return spec(
        FCNHead,
        classes=classes,
        **choose(
            size,
            tiny={"width": 4, "convolutions": 1, "strides": (4, 2)},
            small={"width": 128},
            skips={"width": 128, "strides": (8, 4, 2)},
            reference={"width": 4096, "strides": (32, 16, 8)},
        ),
    )
