"""Between a vision transformer, whose features have one stride, and heads that read several."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.spec import spec
from aeseg.types import Pyramid, UserError


class PyramidNeck(nn.Module):
    """A pyramid of `strides` from features of one stride: up-convolutions to finer ones, 2x2 max pooling to coarser ones.

    As MAE segments with UPerNet (He et al. 2022, appendix A.4, after BEiT's code): 4 times finer are two 2x2 up-convolutions with batch
    norm and GELU between, 2 times one, the stride itself stays, and 2 times coarser is max pooling.

    blocks   1: every stride from the same features (ViTDet, Li et al. 2022, section 3, "simple feature pyramid"); or one for each
             stride, in their order: the features hold that many blocks side by side, as ViT's with so many `outputs`
    widths   channels of each stride; (): as many as a block has
    norm     between up-convolutions: none | batch | group
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
                    f"PyramidNeck makes the strides {list(self.strides)}; its {name} are {number}. "
                    f"Give one for each stride, or {'1' if name == 'blocks' else '()'}."
                )
        super().__post_init__()

    def check(self, encoder: Any) -> None:
        """Raises UserError for an encoder whose features hold another number of blocks."""
        found = max(1, len(getattr(encoder, "outputs", ())))
        if found != self.blocks:
            raise UserError(
                f"PyramidNeck expects features of {self.blocks} blocks; the encoder gives those of {found}. "
                "Set the encoder's outputs to as many blocks as the neck's strides and the neck's blocks to their number, or () and 1."
            )

    @nn.compact
    def __call__(self, pyramid: Pyramid, *, train: bool) -> Pyramid:
        if len(pyramid) != 1:
            raise UserError(
                f"PyramidNeck makes a pyramid of one stride; the encoder gives {sorted(pyramid)}. Leave out the neck: heads read these."
            )
        ((source, features),) = pyramid.items()
        parts = jnp.split(features.astype(self.dtype), self.blocks, axis=-1)
        made = {}
        for place, stride in enumerate(self.strides):
            level = parts[place % self.blocks]
            width = self.widths[place] if self.widths else level.shape[-1]
            steps = math.log2(source / stride)
            if steps != int(steps):
                raise UserError(
                    f"PyramidNeck halves and doubles; from stride {source} it does not come to {stride}. Choose strides of {source} "
                    "times a power of 2."
                )
            for step in range(int(steps)):
                if step:
                    level = layers.normalise(level, self.norm, train=train, dtype=self.dtype, name=f"norm{stride}_{step}")
                    level = nn.gelu(level, approximate=False)
                level = layers.UpConvolution(width, dtype=self.dtype, name=f"up{stride}_{step}")(level)
            if level.shape[-1] != width:
                level = layers.Convolution(width, size=1, initialiser="lecun", dtype=self.dtype, name=f"width{stride}")(level)
            for _ in range(-int(steps)):
                level = layers.max_pool(level)
            made[stride] = level
        return made


def unet(patch: int, width: int, norm: str = "batch") -> ConfigDict:
    """The neck before a U-Net head or decoder: strides 1, 2, 4, ..., `patch`, each twice as wide as the finer one, the last `width`."""
    strides = tuple(2**level for level in range(int(math.log2(patch)) + 1))
    return spec(PyramidNeck, strides=strides, widths=tuple(max(8, width * stride // patch) for stride in strides), norm=norm)
