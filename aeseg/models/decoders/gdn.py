"""The synthesis transform of learned image compression: transposed convolutions with inverse divisive normalisation."""

import flax.linen as nn
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.models.gdn import GDN
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, at_stride


class GDNDecoder(nn.Module):
    """Transposed convolutions with stride 2, each followed by inverse GDN except the last (Ballé et al. 2018, figure 4).

    Mirrors `GDNEncoder`: reads only stride 2 ** (len(widths) + 1), returns stride 1.  Deviation: kernels have 4x4 pixels instead of 5x5,
    so that every output pixel sees as many inputs.
    """

    widths: tuple[int, ...] = (128, 128, 128)
    channels: int = 3
    dtype: str = "float32"

    @nn.compact
    def __call__(self, pyramid: Pyramid, *, train: bool) -> Float[Array, "b h w _"]:
        features = at_stride(pyramid, 2 ** (len(self.widths) + 1), "GDNDecoder").astype(self.dtype)
        for index, width in enumerate(self.widths):
            features = layers.TransposedConvolution(width, dtype=self.dtype, name=f"convolution{index}")(features)
            features = GDN(inverse=True, dtype=self.dtype, name=f"gdn{index}")(features)
        return layers.TransposedConvolution(self.channels, dtype=self.dtype, name="last")(features)


def recipe(size: str = "small") -> ConfigDict:
    """Return the decoder of a size: tiny (tests; stride 4), small (CPU), reference (the paper's for low rates); both of stride 16."""
    return spec(GDNDecoder, **choose(size, tiny={"widths": (6,)}, small={"widths": (64, 48, 32)}, reference={"widths": (128, 128, 128)}))
