"""Necks: a pyramid for heads that read several strides, from an encoder with one stride (ViT)."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.spec import spec
from aeseg.types import Pyramid, UserError


class PyramidNeck(nn.Module):
    """Makes a pyramid of `strides` from features of one stride: up-convolutions to finer strides, max pooling to coarser ones.

    As for MAE with UPerNet (He et al. 2022, appendix A.4, after BEiT's code): two 2x2 up-convolutions with batch norm and GELU between
    for 4 times finer, one for 2 times finer, the identity for the same stride, and 2x2 max pooling for 2 times coarser.

    blocks   1: all strides from the same features (ViTDet, Li et al. 2022, section 3, "simple feature pyramid"); or the number of
             strides: the features concatenate that many blocks, as from ViT's `outputs`, and each stride gets its own, in order
    widths   channels of each stride; (): the channels of a block
    norm     norm between up-convolutions: none | batch | group
    """

    strides: tuple[int, ...] = (4, 8, 16, 32)
    blocks: int = 1
    widths: tuple[int, ...] = ()
    norm: str = "batch"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name, number in (("blocks", self.blocks), ("widths", len(self.widths))):
            if number not in (1 if name == "blocks" else 0, len(self.strides)):
                raise UserError(
                    f"PyramidNeck makes the strides {list(self.strides)}; the number of its {name} is {number}. "
                    f"Give one for each stride, or {'1' if name == 'blocks' else '()'}."
                )
        super().__post_init__()

    def check(self, encoder: Any) -> None:
        """Raise UserError unless the encoder's features hold `blocks` blocks."""
        outputs = max(1, len(getattr(encoder, "outputs", ())))
        if outputs != self.blocks:
            raise UserError(
                f"PyramidNeck expects features of {self.blocks} blocks; the encoder gives {outputs}. "
                "Set the encoder's outputs to one block per stride of the neck and the neck's blocks to their number, or to () and 1."
            )

    @nn.compact
    def __call__(self, pyramid: Pyramid, *, train: bool) -> Pyramid:
        if len(pyramid) != 1:
            raise UserError(
                f"PyramidNeck reads one stride; the encoder gives {sorted(pyramid)}. Leave out the neck: heads can read these strides."
            )
        ((source, features),) = pyramid.items()
        parts = jnp.split(features.astype(self.dtype), self.blocks, axis=-1)
        levels = {}
        for index, stride in enumerate(self.strides):
            level = parts[index % self.blocks]
            width = self.widths[index] if self.widths else level.shape[-1]
            steps = math.log2(source / stride)
            if steps != int(steps):
                raise UserError(f"PyramidNeck needs strides that are {source} times a power of 2; got {stride}. Choose such strides.")
            for step in range(int(steps)):
                if step:
                    level = layers.normalise(level, self.norm, train=train, dtype=self.dtype, name=f"norm{stride}_{step}")
                    level = layers.gelu(level)
                level = layers.UpConvolution(width, dtype=self.dtype, name=f"up{stride}_{step}")(level)
            if level.shape[-1] != width:
                level = layers.Convolution(width, size=1, initialiser="lecun", dtype=self.dtype, name=f"width{stride}")(level)
            for _ in range(-int(steps)):
                level = layers.max_pool(level)
            levels[stride] = level
        return levels


def unet(patch: int, width: int, norm: str = "batch") -> ConfigDict:
    """Return a neck for a U-Net head or decoder; widths double up to `width`, from at least 8.

    The strides are `patch`, its half, and so on while they are whole: 1, 2, 4, 8 and 16 of 16, 7 and 14 of 14.
    """
    strides = tuple(patch // 2**level for level in reversed(range((patch & -patch).bit_length())))
    return spec(PyramidNeck, strides=strides, widths=tuple(max(8, width * stride // patch) for stride in strides), norm=norm)
