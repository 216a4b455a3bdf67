"""The Mix Transformer: SegFormer's encoder, with four strides and without position embeddings."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from aeseg.models import layers, transformer
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, UserError

EPSILON = 1e-5
"""Epsilon of every layer norm, as in transformers; the authors' code uses 1e-6 in blocks and after stages."""

NARROW = nn.initializers.truncated_normal(0.02)


class MiT(nn.Module):
    """Stages of overlapping patches and blocks of efficient attention and Mix-FFN (Xie et al. 2021, arXiv 2105.15203, section 3.1).

    A stage embeds patches (a convolution of `sizes` and `strides` with PyTorch's padding, and a layer norm), applies its blocks and
    ends with a layer norm. Its output is a level of the pyramid, at strides 4, 8, 16 and 32 in all of the paper's sizes (table 6).

    widths       channels of each stage
    depths       number of blocks of each stage
    heads        attention heads of each stage
    reductions   spatial reduction of keys and values, per stage (equation 2)
    sizes        patch size of each stage, in cells of the previous stage
    strides      patch stride of each stage, in cells of the previous stage
    ratio        hidden channels of Mix-FFN relative to the channels of the stage (E in table 6)
    drop_path    rate of the last block; the rates rise linearly from 0 in the first block
    mean, std    standardise the image; (0,), (1,) leave it in [0, 1]
    """

    widths: tuple[int, ...] = (32, 64, 160, 256)
    depths: tuple[int, ...] = (2, 2, 2, 2)
    heads: tuple[int, ...] = (1, 2, 5, 8)
    reductions: tuple[int, ...] = (8, 4, 2, 1)
    sizes: tuple[int, ...] = (7, 3, 3, 3)
    strides: tuple[int, ...] = (4, 2, 2, 2)
    ratio: int = 4
    drop_path: float = 0.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    dtype: str = "float32"

    def __post_init__(self) -> None:
        fields = ("widths", "depths", "heads", "reductions", "sizes", "strides")
        counts = {name: len(getattr(self, name)) for name in fields}
        if len(set(counts.values())) != 1:
            raise UserError(f"MiT needs one number for each stage in {', '.join(fields)}; got {counts}. Give all the same length.")
        uneven = [(width, heads) for width, heads in zip(self.widths, self.heads, strict=True) if width % heads]
        if uneven:
            raise UserError(
                f"The channels of a stage of MiT must be divisible by its heads; got {uneven[0][0]} and {uneven[0][1]}. Change one."
            )
        super().__post_init__()

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], *, train: bool) -> Pyramid:
        strides = np.cumprod(self.strides).tolist()
        unit = math.lcm(*(stride * reduction for stride, reduction in zip(strides, self.reductions, strict=True)))
        layers.check_size(image, unit, f"MiT with strides {strides}", "smaller strides")
        features = layers.standardise(image, self.mean, self.std).astype(self.dtype)
        rates = iter(np.linspace(0, self.drop_path, sum(self.depths)).tolist())
        pyramid, stride = {}, 1
        for index, depth in enumerate(self.depths):
            stage = Stage(
                self.widths[index],
                self.heads[index],
                self.reductions[index],
                self.sizes[index],
                self.strides[index],
                self.ratio,
                tuple(next(rates) for _ in range(depth)),
                self.dtype,
                name=f"stage{index}",
            )
            features = stage(features, train=train)
            stride *= self.strides[index]
            pyramid[stride] = features
        return pyramid


class Stage(nn.Module):
    """Patch embedding, one block per rate (in a scan, so that compile time does not grow with depth), and a layer norm."""

    width: int
    heads: int
    reduction: int
    size: int
    stride: int
    ratio: int
    rates: tuple[float, ...]
    dtype: str

    @nn.compact
    def __call__(self, features: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b _ _ d"]:
        sides = ((self.size // 2, self.size // 2),) * 2
        patches = layers.Convolution(self.width, self.size, self.stride, padding=sides, dtype=self.dtype, name="patches")
        features = _norm(self.dtype, "patches_norm")(patches(features))
        rngs: Any = {"params": True, "drop_path": True}
        scanned = nn.scan(Block, variable_axes={"params": 0}, split_rngs=rngs, in_axes=0, length=len(self.rates))
        blocks = scanned(self.heads, self.reduction, self.ratio, train and max(self.rates) > 0, self.dtype, name="blocks")
        features, _ = blocks(features, jnp.asarray(self.rates))
        return _norm(self.dtype, "norm")(features)


class Block(nn.Module):
    """x + attention(norm(x)), then x + Mix-FFN(norm(x)) (Xie et al. 2021, equations 1 to 3; exact GELU).

    drops   drop each branch of an image with probability `rate` (Huang et al. 2016); kept branches are divided by 1 - rate
    """

    heads: int
    reduction: int
    ratio: int
    drops: bool
    dtype: str

    @nn.compact
    def __call__(self, features: Float[Array, "b h w d"], rate: Float[Array, ""]) -> tuple[Float[Array, "b h w d"], None]:
        branch = self._attention(_norm(self.dtype, "norm_before")(features))
        features = features + self._dropped(branch, rate)
        branch = self._mix(_norm(self.dtype, "norm_after")(features))
        return features + self._dropped(branch, rate), None

    def _attention(self, features: Float[Array, "b h w d"]) -> Float[Array, "b h w d"]:
        (b, _, _, d), r, reduced = features.shape, self.reduction, features
        if r > 1:  # equation 2: r x r cells become one key and value
            reduce = layers.Convolution(d, r, r, initialiser="lecun", padding=((0, 0), (0, 0)), dtype=self.dtype, name="reduce")
            reduced = _norm(self.dtype, "reduce_norm")(reduce(features))
        parts = {"query": features, "key": reduced, "value": reduced}
        split = [self._dense(d, name)(part).reshape(b, -1, self.heads, d // self.heads) for name, part in parts.items()]
        return self._dense(d, "projection")(layers.attention(*split).reshape(features.shape))

    def _mix(self, features: Float[Array, "b h w d"]) -> Float[Array, "b h w d"]:
        """Apply Mix-FFN (equation 3). The zero padding of its 3x3 convolution encodes positions."""
        hidden = self._dense(self.ratio * features.shape[-1], "expand")(features)
        hidden = layers.DepthwiseConvolution(3, initialiser="lecun", dtype=self.dtype, name="depthwise")(hidden)
        return self._dense(features.shape[-1], "contract")(layers.gelu(hidden))

    def _dense(self, units: int, name: str) -> nn.Dense:
        return layers.Dense(units, kernel_init=NARROW, dtype=self.dtype, name=name)

    def _dropped(self, branch: Float[Array, "b h w d"], rate: Float[Array, ""]) -> Float[Array, "b h w d"]:
        if not self.drops:
            return branch
        kept = jax.random.bernoulli(self.make_rng("drop_path"), 1 - rate, (branch.shape[0], 1, 1, 1))
        return jnp.where(kept, branch / (1 - rate).astype(branch.dtype), 0)


def recipe(size: str = "small") -> ConfigDict:
    """Return the encoder of a size: tiny (tests; strides 2 and 4), small (CPU), b0 to b5 (table 6; ImageNet statistics)."""
    imagenet = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "drop_path": 0.1}
    wide = {"widths": (64, 128, 320, 512), **imagenet}
    two = {"widths": (4, 8), "depths": (1, 1), "heads": (1, 2), "reductions": (2, 1), "sizes": (7, 3), "strides": (2, 2), "ratio": 2}
    few = {"widths": (16, 32, 64, 128), "depths": (1, 1, 1, 1), "heads": (1, 2, 4, 8), "mean": (0.45,), "std": (0.25,)}
    return spec(
        MiT,
        **choose(
            size,
            tiny=two,
            small=few,
            b0=imagenet,
            b1=wide,
            b2={"depths": (3, 4, 6, 3), **wide},
            b3={"depths": (3, 4, 18, 3), **wide},
            b4={"depths": (3, 8, 27, 3), **wide},
            b5={"depths": (3, 6, 40, 3), **wide},
        ),
    )


def _norm(dtype: str, name: str) -> nn.LayerNorm:
    return transformer.layer_norm(EPSILON, dtype, name)
