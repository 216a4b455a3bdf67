"""SparK's decoder: blocks of upsampling, with the features of each scale added on the way."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, UserError, at_stride


class LightDecoder(nn.Module):
    """From the coarsest stride to 1, half as wide at each (Tian et al. 2023, section 3.2; the decoder of its code).

    At each stride down to 2 the pyramid's features of that stride, if they are read, are projected (1x1 convolution at the
    coarsest, 3x3 at the others) and added; a 4x4 transposed convolution with stride 2 follows, then a 3x3 convolution with
    norm and ReLU6 and one, to half the width, with norm alone.  A 1x1 convolution gives the pixels, unbounded.  Deviation: the
    coarsest features are projected even where they have the decoder's width already.

    `hidden` [b i j], as a masked method gives it, densifies the features before they are projected (section 3.2, "mask
    embeddings"): a norm over the visible positions, and at hidden ones a learned vector for each stride.

    width          channels at the coarsest stride, a multiple of it
    strides        those that are read; (): all that the pyramid has
    norm           none | batch | group | layer, of the decoder's own layers
    densify_norm   that of the visible features: the encoder's kind (SparK's code: batch on ResNet, layer on ConvNeXt)
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
                f"LightDecoder halves its width {self.width} at each doubling from stride {stride}; that needs a power of two which "
                f"divides the width. Set width to a multiple of {stride}, or take an encoder with such strides."
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
    """tiny (tests), small (a CPU), reference (SparK's)."""
    return spec(LightDecoder, **choose(size, tiny={"width": 32}, small={"width": 64}, reference={"width": 512}))
