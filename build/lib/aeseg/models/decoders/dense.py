"""A fully connected decoder for images of one size."""

import flax.linen as nn
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.spec import choose, spec
from aeseg.types import Pyramid


class DenseDecoder(nn.Module):
    """Fully connected layers with ReLU on the features of the coarsest stride; the last layer returns all pixels, unbounded.

    The kernels depend on the size of the image, which is fixed by the first pyramid.
    """

    hidden: tuple[int, ...] = (256,)
    channels: int = 3
    dtype: str = "float32"

    @nn.compact
    def __call__(self, pyramid: Pyramid, *, train: bool) -> Float[Array, "b h w _"]:
        stride = max(pyramid)
        b, rows, columns, _ = pyramid[stride].shape
        features = pyramid[stride].astype(self.dtype).reshape(b, -1)
        for index, units in enumerate(self.hidden):
            features = nn.relu(layers.dense(self, features, units, f"dense{index}"))
        shape = (rows * stride, columns * stride, self.channels)
        return layers.dense(self, features, shape[0] * shape[1] * shape[2], "last", initialiser="lecun").reshape(b, *shape)


def recipe(size: str = "small") -> ConfigDict:
    """Return the decoder of a size: tiny (tests), small (images up to about 64 x 64), reference (widest for a CPU)."""
    return spec(DenseDecoder, **choose(size, tiny={"hidden": (8,)}, small={"hidden": (256,)}, reference={"hidden": (1024,)}))
