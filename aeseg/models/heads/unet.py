"""The expanding path of U-Net."""

import flax.linen as nn
import jax.numpy as jnp
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, UserError, check_each, doubling_strides


class UNetHead(nn.Module):
    """Up-convolutions, each joined to the features of its stride (Ronneberger et al. 2015, figure 1, with SAME padding).

    From the coarsest to the finest stride: a 2x2 up-convolution, concatenation with the encoder's features, and `convolutions` 3x3
    convolutions with ReLU. A 1x1 convolution returns the logits. With `ConvNet` of recipe("unet"), 3 channels and 2 classes, it has
    the paper's 31,031,810 parameters. If the encoder pooled an odd last row or column alone (`VGG`), the excess is cropped.

    widths             channels at each stride, coarse to fine; (): the channels of the encoder's features
    deep_supervision   number of coarser strides that also get logits (Lee et al. 2015; U-Net++), for the loss
    initialiser        of the 1x1 convolution (`layers`)
    """

    classes: int
    widths: tuple[int, ...] = ()
    convolutions: int = 2
    norm: str = "none"
    use_bias: bool = True
    deep_supervision: int = 0
    initialiser: str = "lecun"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, pyramid: Pyramid, *, train: bool) -> Pyramid:
        coarsest, *strides = doubling_strides(pyramid, "UNetHead")
        self._check(strides)
        widths = self.widths or tuple(pyramid[stride].shape[-1] for stride in strides)
        features = pyramid[coarsest].astype(self.dtype)
        logits = {}
        for index, (stride, width) in enumerate(zip(strides, widths, strict=True)):
            features = layers.UpConvolution(width, dtype=self.dtype, name=f"up{stride}")(features)
            h, w = pyramid[stride].shape[1:3]
            features = jnp.concatenate([pyramid[stride].astype(self.dtype), features[:, :h, :w]], axis=-1)
            block = layers.ConvolutionBlock(width, self.convolutions, self.norm, self.use_bias, self.dtype, name=f"level{stride}")
            features = block(features, train=train)
            if index >= len(strides) - 1 - self.deep_supervision:
                score = layers.Convolution(self.classes, size=1, initialiser=self.initialiser, dtype=self.dtype, name=f"logits{stride}")
                logits[stride] = score(features)
        return logits

    def _check(self, strides: list[int]) -> None:
        if self.widths:
            has = f"UNetHead has {len(self.widths)} widths"
            check_each(self.widths, strides, has, "width for each, coarse to fine, or () to take the encoder's")
        if not 0 <= self.deep_supervision < len(strides):
            raise UserError(
                f"UNetHead has {len(strides)} strides {strides}, so deep_supervision is at most {len(strides) - 1}; it is "
                f"{self.deep_supervision}. Lower it, or give the encoder more levels."
            )


def recipe(size: str = "small", classes: int = 2) -> ConfigDict:
    """Return the head of a size: tiny (tests), small (CPU; one convolution per stride, batch norm), reference (the paper's)."""
    return spec(
        UNetHead,
        classes=classes,
        **choose(size, tiny={"convolutions": 1}, small={"convolutions": 1, "norm": "batch"}, reference={"convolutions": 2}),
    )
