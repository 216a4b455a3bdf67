"""U-Net's expanding path as a decoder with skip connections."""

import flax.linen as nn
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg.models.heads.unet import UNetHead
from aeseg.spec import choose, spec
from aeseg.types import Pyramid


class UNetDecoder(nn.Module):
    """Reconstructs the image through skips at every stride (Ronneberger et al. 2015, figure 1); for corrupted input only.

    An uncorrupted image would pass through the finest skip. Hidden or noisy parts need the deep features (Brempong et al. 2022,
    arXiv 2205.11423, pretrain such a decoder by denoising). Values are unbounded.

    initialiser   of the last convolution (`layers`); with zeros, the first values are 0
    """

    widths: tuple[int, ...] = ()
    convolutions: int = 2
    norm: str = "none"
    channels: int = 3
    initialiser: str = "lecun"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, pyramid: Pyramid, *, train: bool) -> Float[Array, "b h w _"]:
        path = UNetHead(
            self.channels, self.widths, self.convolutions, self.norm, initialiser=self.initialiser, dtype=self.dtype, name="path"
        )
        values = path(pyramid, train=train)
        return values[min(values)]


def recipe(size: str = "small") -> ConfigDict:
    """Return the decoder of a size: tiny (tests), small (CPU; one convolution per stride, batch norm), reference (U-Net's)."""
    return spec(
        UNetDecoder, **choose(size, tiny={"convolutions": 1}, small={"convolutions": 1, "norm": "batch"}, reference={"convolutions": 2})
    )
