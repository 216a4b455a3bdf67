"""The analysis transform of learned image compression: strided convolutions with divisive normalisation."""

import flax.linen as nn
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.models.gdn import GDN
from aeseg.spec import choose, spec
from aeseg.types import Pyramid


class GDNEncoder(nn.Module):
    """5x5 convolutions with stride 2, each followed by GDN except the last (Ballé et al. 2018, arXiv 1802.01436, figure 4).

    Returns strides 2 to 2 ** len(widths).  Deviation: the image is standardised by `mean` and `std` (the paper's is in [0, 1]).
    """

    widths: tuple[int, ...] = (128, 128, 128, 192)
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    dtype: str = "float32"

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], *, train: bool) -> Pyramid:
        layers.check_size(image, 2 ** len(self.widths), f"GDNEncoder with {len(self.widths)} convolutions", "fewer widths")
        features = layers.standardise(image, self.mean, self.std).astype(self.dtype)
        pyramid = {}
        for level, width in enumerate(self.widths):
            convolution = layers.Convolution(width, 5, 2, initialiser="lecun", dtype=self.dtype, name=f"convolution{level}")
            features = convolution(features)
            if level + 1 < len(self.widths):
                features = GDN(dtype=self.dtype, name=f"gdn{level}")(features)
            pyramid[2 ** (level + 1)] = features
        return pyramid


def recipe(size: str = "small") -> ConfigDict:
    """Return the encoder of a size: tiny (tests; stride 4), small (CPU), reference (the paper's for low rates); both of stride 16."""
    standard = {"mean": (0.45,), "std": (0.25,)}
    return spec(
        GDNEncoder,
        **choose(size, tiny={"widths": (4, 6)}, small={"widths": (32, 48, 64, 96), **standard}, reference={"widths": (128, 128, 128, 192)}),
    )
