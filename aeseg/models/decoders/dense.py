"""A fully connected decoder to images of one size."""

import flax.linen as nn
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.spec import choose, spec
from aeseg.types import Pyramid


class DenseDecoder(nn.Module):
    """All features of the coarsest stride into fully connected layers with ReLU; the last gives every pixel, unbounded.

    The image's size is that of the first pyramid it sees: the kernels depend on it.
    """

    hidden: tuple[int, ...] = (256,)
    channels: int = 3
    dtype: str = "float32"

    @nn.compact
    def __call__(self, pyramid: Pyramid, *, train: bool) -> Float[Array, "b h w _"]:
        stride = max(pyramid)
        b, rows, columns, _ = pyramid[stride].shape
        features = pyramid[stride].astype(self.dtype).reshape(b, -1)
        for place, units in enumerate(self.hidden):
            features = nn.relu(layers.dense(self, features, units, f"dense{place}"))
        shape = (rows * stride, columns * stride, self.channels)
        return layers.dense(self, features, shape[0] * shape[1] * shape[2], "last", initialiser="lecun").reshape(b, *shape)


def recipe(size: str = "small") -> ConfigDict:
    """tiny (tests), small (images up to about 64 x 64), reference (the widest that trains on a CPU)."""
    return spec(DenseDecoder, **choose(size, tiny={"hidden": (8,)}, small={"hidden": (256,)}, reference={"hidden": (1024,)}))
