"""UPerNet's head: pyramid pooling at the coarsest stride, and a feature pyramid to the finest."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, UserError, chosen_strides


class UPerNetHead(nn.Module):
    """Pyramid pooling (Zhao et al. 2017, section 3.2) and a feature pyramid (Xiao et al. 2018, arXiv 1807.10221, section 3.1).

    The coarsest features are average-pooled to grids of `pools` cells and concatenated with the result. Each finer stride adds its
    features to the upsampled sum of coarser strides. A 3x3 convolution smooths each sum but the coarsest, and another joins them at
    the finest of `strides`, the stride of the logits. Every convolution has batch norm, ReLU and no bias. Layout and channel dropout
    as in mmsegmentation.

    width              channels of all convolutions
    strides            strides to read; (): the coarsest four of the encoder (or all, if it has fewer)
    deep_supervision   1: an auxiliary fully convolutional head of `auxiliary_width` channels with logits for the loss, at the second
                       coarsest stride (16 of 4, 8, 16, 32); 0: none
    """

    classes: int
    width: int = 512
    pools: tuple[int, ...] = (1, 2, 3, 6)
    strides: tuple[int, ...] = ()
    deep_supervision: int = 0
    auxiliary_width: int = 256
    dropout: float = 0.1
    dtype: str = "float32"

    @nn.compact
    def __call__(self, pyramid: Pyramid, *, train: bool) -> Pyramid:
        strides = chosen_strides(pyramid, self.strides, "UPerNetHead")
        self._check(strides)
        levels = [pyramid[stride].astype(self.dtype) for stride in strides]
        sums = [self._block(1, f"lateral{index}")(level, train=train) for index, level in enumerate(levels[:-1])]
        sums.append(self._pooled(levels[-1], train))
        for index in reversed(range(len(levels) - 1)):
            sums[index] += _as_large_as(sums[index], sums[index + 1])
        smoothed = [self._block(3, f"smooth{index}")(level, train=train) for index, level in enumerate(sums[:-1])]
        joined = jnp.concatenate([_as_large_as(sums[0], level) for level in (*smoothed, sums[-1])], axis=-1)
        logits = {strides[0]: self._logits(self._block(3, "join")(joined, train=train), "logits", train)}
        if self.deep_supervision:
            features = self._block(3, "auxiliary", self.auxiliary_width)(levels[-2], train=train)
            logits[strides[-2]] = self._logits(features, "auxiliary_logits", train)
        return logits

    def _pooled(self, features: Float[Array, "b h w d"], train: bool) -> Float[Array, "b h w _"]:
        parts = [features]
        for index, cells in enumerate(self.pools):
            pooled = self._block(1, f"pool{index}")(adaptive_average_pool(features, cells), train=train)
            parts.append(_as_large_as(features, pooled))
        return self._block(3, "bottleneck")(jnp.concatenate(parts, axis=-1), train=train)

    def _logits(self, features: Float[Array, "b h w d"], name: str, train: bool) -> Float[Array, "b h w {self.classes}"]:
        features = layers.dropout(self, features, self.dropout, train=train, whole=True)
        return layers.Convolution(self.classes, size=1, initialiser="lecun", dtype=self.dtype, name=name)(features)

    def _block(self, size: int, name: str, width: int = 0) -> "NormedConvolution":
        return NormedConvolution(width or self.width, size, self.dtype, name=name)

    def _check(self, strides: tuple[int, ...]) -> None:
        if self.deep_supervision not in (0, 1):
            raise UserError(
                f"UPerNetHead has one auxiliary head, so deep_supervision is 0 or 1; it is {self.deep_supervision}. Set it to 0 or 1."
            )
        if self.deep_supervision and len(strides) < 3:
            raise UserError(
                f"UPerNetHead's auxiliary head reads the second coarsest of at least 3 strides; it reads {list(strides)}. "
                "Set deep_supervision=0, or use an encoder with more strides."
            )


class NormedConvolution(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    width: int
    size: int
    dtype: str

    @nn.compact
    def __call__(self, features: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w d"]:
        convolution = layers.Convolution(self.width, size=self.size, use_bias=False, dtype=self.dtype, name="convolution")
        return nn.relu(layers.normalise(convolution(features), "batch", train=train, dtype=self.dtype, name="norm"))


def adaptive_average_pool(features: Float[Array, "b h w d"], cells: int) -> Float[Array, "b {cells} {cells} d"]:
    """Average-pool to cells x cells; bins overlap, from floor(i h / cells) to ceil((i + 1) h / cells): torch's AdaptiveAvgPool2d.

    Sums are in float32 for any input, because a pool of 1 averages the whole image.
    """
    rows, columns = (jnp.asarray(_pooling(side, cells)) for side in features.shape[1:3])
    return jnp.einsum("yh,bhwd,xw->byxd", rows, features.astype(jnp.float32), columns).astype(features.dtype)


def recipe(size: str = "small", classes: int = 2) -> ConfigDict:
    """Return the head of a size: tiny (tests), small (CPU), reference (512 channels and auxiliary head, as in mmsegmentation)."""
    return spec(
        UPerNetHead,
        classes=classes,
        **choose(
            size,
            tiny={"width": 4, "pools": (1, 3), "deep_supervision": 1, "auxiliary_width": 4},
            small={"width": 64},
            reference={"deep_supervision": 1},
        ),
    )


def _pooling(side: int, cells: int) -> Float[np.ndarray, "{cells} {side}"]:
    """Return the pooling matrix: row i holds the weights of `side` positions in the mean of bin i."""
    weights = np.zeros((cells, side), np.float32)
    for i in range(cells):
        first, last = i * side // cells, -(-(i + 1) * side // cells)
        weights[i, first:last] = 1 / (last - first)
    return weights


def _as_large_as(other: Float[Array, "b h w _"], features: Float[Array, "b _ _ d"]) -> Float[Array, "b h w d"]:
    return layers.resize(features, *other.shape[1:3])
