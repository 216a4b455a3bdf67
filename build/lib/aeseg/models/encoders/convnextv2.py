"""ConvNeXt V2 and ConvNeXt: the convolutional encoder of FCMAE."""

from typing import ClassVar

import flax.linen as nn
import numpy as np
from jaxtyping import Array, Bool, Float
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.models.convnext import Block
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, UserError


class Stage(nn.Module):
    """Blocks of one width. All stages but the first begin with a layer norm and a 2x2 convolution with stride 2."""

    width: int
    downsamples: bool
    drop_paths: tuple[float, ...]
    response_norm: bool
    layer_scale: float
    dtype: str

    @nn.compact
    def __call__(self, features: Float[Array, "b h w d"], *, train: bool, hidden: Bool[Array, "b i j"] | None) -> Float[Array, "b _ _ _"]:
        if self.downsamples:
            features = layers.visible_only(layers.layer_norm(features, self.dtype, "down_norm"), hidden)
            down = layers.Convolution(self.width, size=2, stride=2, initialiser="narrow", dtype=self.dtype, name="down")
            features = layers.visible_only(down(features), hidden)
        for index, rate in enumerate(self.drop_paths):
            block = Block(self.response_norm, self.layer_scale, rate, self.dtype, name=f"block{index}")
            features = block(features, train=train, hidden=hidden)
        return features


class ConvNeXtV2(nn.Module):
    """ConvNeXt V2 (Woo et al. 2023, section 3.2 and table 9), or ConvNeXt (Liu et al. 2022, section 2) without response norm.

    The pyramid holds the output of each stage, at strides `stem`, 2 * `stem`, 4 * `stem`, ...

    widths, depths  channels and number of blocks of each stage
    stem            kernel size and stride of the first convolution
    drop_path       rate of the last block; the rates rise linearly from 0
    response_norm   version 2's normalisation in each block
    layer_scale     initial value of version 1's layer scale (1e-6); 0: none
    normed          strides with an additional layer norm, as heads on version 1 expect
    mean, std       standardise the image; (0,), (1,) leave it in [0, 1]

    `hidden` [b i j] hides units of the image: the pyramid is zero there, and hidden pixels do not affect the rest.
    """

    masked_mode: ClassVar[str] = "sparse"
    adjustable: ClassVar[tuple[str, ...]] = ("drop_path",)
    """Fields that may change between uses of the same weights."""

    widths: tuple[int, ...] = (96, 192, 384, 768)
    depths: tuple[int, ...] = (3, 3, 9, 3)
    stem: int = 4
    drop_path: float = 0.0
    response_norm: bool = True
    layer_scale: float = 0.0
    normed: tuple[int, ...] = ()
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.depths):
            raise UserError(
                f"ConvNeXtV2 has {len(self.widths)} widths {self.widths} and {len(self.depths)} depths {self.depths}. "
                "Give one of each for every stage."
            )
        if not 0 <= self.drop_path < 1:
            raise UserError(f"drop_path is a probability, 0 or more and less than 1; got {self.drop_path}. Change it in the config.")
        unknown = sorted(set(self.normed) - set(self.strides))
        if unknown:
            raise UserError(f"ConvNeXtV2 gives strides {list(self.strides)}; normed names {unknown}. Name strides that it gives.")
        super().__post_init__()

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the pyramid, fine to coarse."""
        return tuple(self.stem * 2**level for level in range(len(self.widths)))

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], *, train: bool, hidden: Bool[Array, "b i j"] | None = None) -> Pyramid:
        layers.check_size(image, self.strides[-1], f"ConvNeXtV2 with coarsest stride {self.strides[-1]}", "fewer levels")
        layers.check_hidden(image, hidden, self.strides[-1], "ConvNeXtV2")
        features = layers.visible_only(layers.standardise(image, self.mean, self.std).astype(self.dtype), hidden)
        stem = layers.Convolution(self.widths[0], self.stem, self.stem, initialiser="narrow", dtype=self.dtype, name="stem")
        features = layers.visible_only(layers.layer_norm(stem(features), self.dtype, "stem_norm"), hidden)
        rates = np.linspace(0, self.drop_path, sum(self.depths)).tolist()
        pyramid = {}
        for index, (stride, width, depth) in enumerate(zip(self.strides, self.widths, self.depths, strict=True)):
            drop_paths = tuple(rates.pop(0) for _ in range(depth))
            stage = Stage(width, index > 0, drop_paths, self.response_norm, self.layer_scale, self.dtype, name=f"stage{index}")
            features = stage(features, train=train, hidden=hidden)
            pyramid[stride] = features
            if stride in self.normed:
                pyramid[stride] = layers.visible_only(layers.layer_norm(features, self.dtype, f"output_norm{stride}"), hidden)
        return pyramid


def recipe(size: str = "small") -> ConfigDict:
    """Return the encoder of a size.

    tiny (tests), small (CPU; strides 2, 4, 8), atto to huge (the paper's; its tiny is v2_tiny), v1_tiny to v1_base (version 1).
    """
    first = {"response_norm": False, "layer_scale": 1e-6}
    return spec(
        ConvNeXtV2,
        **choose(
            size,
            tiny={"widths": (4, 8), "depths": (1, 1), "stem": 2},
            small={"widths": (24, 48, 96), "depths": (1, 1, 3), "stem": 2, "mean": (0.45,), "std": (0.25,)},
            atto={"widths": (40, 80, 160, 320), "depths": (2, 2, 6, 2)},
            femto={"widths": (48, 96, 192, 384), "depths": (2, 2, 6, 2)},
            pico={"widths": (64, 128, 256, 512), "depths": (2, 2, 6, 2)},
            nano={"widths": (80, 160, 320, 640), "depths": (2, 2, 8, 2)},
            v2_tiny={"widths": (96, 192, 384, 768), "depths": (3, 3, 9, 3)},
            base={"widths": (128, 256, 512, 1024), "depths": (3, 3, 27, 3)},
            large={"widths": (192, 384, 768, 1536), "depths": (3, 3, 27, 3)},
            huge={"widths": (352, 704, 1408, 2816), "depths": (3, 3, 27, 3)},
            v1_tiny={**first, "widths": (96, 192, 384, 768), "depths": (3, 3, 9, 3)},
            v1_small={**first, "widths": (96, 192, 384, 768), "depths": (3, 3, 27, 3)},
            v1_base={**first, "widths": (128, 256, 512, 1024), "depths": (3, 3, 27, 3)},
        ),
    )
