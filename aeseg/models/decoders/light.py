"""SparK's decoder: upsampling blocks that add the features of each scale."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, UserError, at_stride


class LightDecoder(nn.Module):
    """Decoder from the coarsest stride to stride 1 that halves its width at each step (Tian et al. 2023, section 3.2, and code).

    At each stride from the coarsest to 2, the features of that stride, if read, are projected (1x1 convolution at the coarsest, 3x3
    at others) and added. Then follow a 4x4 transposed convolution with stride 2, a 3x3 convolution with norm and ReLU6, and a 3x3
    convolution to half the width with a norm. A 1x1 convolution returns the pixels, unbounded. Deviations: the coarsest features are
    projected even if they already have the decoder's width (ConvNeXt-S at width 768); kernels start as He's or LeCun's (theirs: normal
    with deviation 0.02 for convolutions, He's fan-out for transposed ones).

    With `hidden` [b i j], features are densified before they are projected (section 3.2, "mask embeddings"): visible positions are
    normalised, and hidden positions get a learned vector per stride.

    width          channels at the coarsest stride; a multiple of that stride (SparK's released code: 768)
    strides        strides to read; (): all strides of the pyramid
    norm           none | batch | group | layer, in the decoder's layers
    densify_norm   norm of the visible features, the encoder's kind (SparK's code: batch on ResNet, layer on ConvNeXt)
    """

    width: int = 512
    strides: tuple[int, ...] = ()
    norm: str = "batch"
    densify_norm: str = "batch"
    channels: int = 3
    dtype: str = "float32"

    @nn.compact
    def __call__(self, pyramid: Pyramid, *, train: bool, hidden: Bool[Array, "b i j"] | None = None) -> Float[Array, "b h w _"]:
        read = {stride: at_stride(pyramid, stride, "LightDecoder") for stride in self.strides or pyramid}
        stride = max(read)
        if stride & (stride - 1) or self.width % stride:
            raise UserError(
                f"LightDecoder halves its width {self.width} at each doubling from stride {stride}: the stride must be a power of two that "
                f"divides the width. Set width to a multiple of {stride}, or use an encoder with such strides."
            )
        width, features = self.width, self._projected(read, stride, self.width, 1, train, hidden)
        while stride > 1:
            if width < self.width and stride in read:
                features = features + self._projected(read, stride, width, 3, train, hidden)
            features = layers.TransposedConvolution(width, dtype=self.dtype, name=f"up{stride}")(features)
            features = jnp.clip(self._layer(features, width, f"first{stride}", train), 0, 6)
            features = self._layer(features, width // 2, f"second{stride}", train)
            width, stride = width // 2, stride // 2
        return layers.Convolution(self.channels, size=1, initialiser="lecun", dtype=self.dtype, name="pixels")(features)

    def _projected(
        self, pyramid: Pyramid, stride: int, width: int, size: int, train: bool, hidden: Bool[Array, "b i j"] | None
    ) -> Float[Array, "b h w _"]:
        features = pyramid[stride].astype(self.dtype)
        if hidden is not None:
            name = f"densify_norm{stride}"
            features = layers.normalise(features, self.densify_norm, train=train, dtype=self.dtype, name=name, hidden=hidden)
            token = self.param(f"mask_token{stride}", layers.INITIALISERS["narrow"], features.shape[-1:]).astype(self.dtype)
            features = jnp.where(layers.visible_at(features, hidden), features, token.reshape(1, 1, 1, -1))
        return layers.Convolution(width, size, initialiser="lecun", dtype=self.dtype, name=f"projection{stride}")(features)

    def _layer(self, features: Float[Array, "b h w d"], width: int, name: str, train: bool) -> Float[Array, "b h w _"]:
        features = layers.Convolution(width, use_bias=False, dtype=self.dtype, name=name)(features)
        return layers.normalise(features, self.norm, train=train, dtype=self.dtype, name=f"{name}_norm")


def recipe(size: str = "small") -> ConfigDict:
    """Return the decoder of a size: tiny (tests), small (CPU), reference (SparK's, 768 channels)."""
    return spec(LightDecoder, **choose(size, tiny={"width": 32}, small={"width": 64}, reference={"width": 768}))
