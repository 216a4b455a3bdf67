"""ResNet, version 1.5: residual networks with batch norm."""

from typing import ClassVar

import flax.linen as nn
import numpy as np
from jaxtyping import Array, Bool, Float
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, UserError

EXPANSION = 4
"""Ratio of the output channels of a bottleneck to its inner channels (He et al. 2016, figure 5)."""


class Block(nn.Module):
    """Residual block: two 3x3 convolutions, or a bottleneck of 1x1, 3x3 and 1x1 (He et al. 2016, figure 5).

    The first 3x3 convolution has the stride ("v1.5"; in the paper, the first 1x1 of a bottleneck). If the shape changes, the
    shortcut is a 1x1 convolution and a norm (option B). Padding is symmetric, as in PyTorch. `drop_path` is the probability that the
    branch of a row is dropped in training (Huang et al. 2016).
    """

    width: int
    stride: int
    bottleneck: bool
    initialiser: str
    zero_last: bool
    drop_path: float
    dtype: str

    @nn.compact
    def __call__(self, features: Float[Array, "b h w d"], *, train: bool, hidden: Bool[Array, "b i j"] | None) -> Float[Array, "b _ _ _"]:
        width = self.width * EXPANSION if self.bottleneck else self.width
        sizes = (1, 3, 1) if self.bottleneck else (3, 3)
        branch = features
        for number, size in enumerate(sizes, start=1):
            last = number == len(sizes)
            stride = self.stride if number == sizes.index(3) + 1 else 1
            features_out = width if last else self.width
            branch = convolution(features_out, size, stride, self.initialiser, self.dtype, f"convolution{number}")(branch)
            zero = last and self.zero_last
            branch = layers.normalise(branch, "batch", train=train, dtype=self.dtype, name=f"norm{number}", hidden=hidden, zero=zero)
            if not last:
                branch = layers.visible_only(nn.relu(branch), hidden)
        if self.stride > 1 or features.shape[-1] != width:
            features = convolution(width, 1, self.stride, self.initialiser, self.dtype, "shortcut")(features)
            features = layers.normalise(features, "batch", train=train, dtype=self.dtype, name="shortcut_norm", hidden=hidden)
        if self.drop_path:
            branch = nn.Dropout(self.drop_path, broadcast_dims=(1, 2, 3), rng_collection="drop_path", deterministic=not train)(branch)
        return layers.visible_only(nn.relu(features + branch), hidden)


class Stage(nn.Module):
    """Blocks of one width; the first block has the stride of the stage."""

    width: int
    stride: int
    bottleneck: bool
    initialiser: str
    zero_last: bool
    drop_paths: tuple[float, ...]
    dtype: str

    @nn.compact
    def __call__(self, features: Float[Array, "b h w d"], *, train: bool, hidden: Bool[Array, "b i j"] | None) -> Float[Array, "b _ _ _"]:
        start = self.initialiser, self.zero_last
        for index, rate in enumerate(self.drop_paths):
            block = Block(self.width, 1 if index else self.stride, self.bottleneck, *start, rate, self.dtype, name=f"block{index}")
            features = block(features, train=train, hidden=hidden)
        return features


class ResNet(nn.Module):
    """Residual network (He et al. 2016, table 1) with strides as in "v1.5" (see `Block`).

    The pyramid holds the features of the first convolution at stride 2, and the output of each stage at strides 4, 8, 16, 32.

    widths       channels of the convolutions of each stage; the output of a bottleneck has four times as many
    depths       number of blocks of each stage
    stem         channels of the first, 7x7 convolution
    bottleneck   use bottleneck blocks
    initialiser  "he_out" (torchvision, timm) or "he", of all convolutions
    zero_last    start the scale of each block's last norm at 0, so that blocks start as shortcuts (Goyal et al. 2017, section 5.1; timm)
    drop_path    rate of the last block; the rates rise linearly from 0
    mean, std    standardise the image; (0,), (1,) leave it in [0, 1]

    `hidden` [b i j] hides units of the image: the pyramid is zero there, and hidden pixels do not affect the rest, including the
    statistics of the batch norms.
    """

    masked_mode: ClassVar[str] = "sparse"
    adjustable: ClassVar[tuple[str, ...]] = ("drop_path", "initialiser", "zero_last")
    """Fields that may change between uses of the same weights."""

    widths: tuple[int, ...] = (64, 128, 256, 512)
    depths: tuple[int, ...] = (3, 4, 6, 3)
    stem: int = 64
    bottleneck: bool = True
    initialiser: str = "he_out"
    zero_last: bool = True
    drop_path: float = 0.0
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.depths):
            raise UserError(
                f"ResNet has {len(self.widths)} widths {self.widths} and {len(self.depths)} depths {self.depths}. "
                "Give one of each for every stage."
            )
        if self.initialiser not in ("he_out", "he"):
            raise UserError(f"ResNet's initialiser is he_out or he; got {self.initialiser!r}. Set initialiser to one of these.")
        super().__post_init__()

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], *, train: bool, hidden: Bool[Array, "b i j"] | None = None) -> Pyramid:
        coarsest = 2 ** (1 + len(self.widths))
        layers.check_size(image, coarsest, f"ResNet with coarsest stride {coarsest}", "fewer levels")
        layers.check_hidden(image, hidden, coarsest, "ResNet")
        features = layers.visible_only(layers.standardise(image, self.mean, self.std).astype(self.dtype), hidden)
        features = convolution(self.stem, 7, 2, self.initialiser, self.dtype, "stem")(features)
        features = nn.relu(layers.normalise(features, "batch", train=train, dtype=self.dtype, name="stem_norm", hidden=hidden))
        pyramid = {2: layers.visible_only(features, hidden)}
        # Features are at least 0, so padding and hidden positions, which are 0, do not change the maximum of a window.
        features = layers.visible_only(nn.max_pool(pyramid[2], (3, 3), (2, 2), ((1, 1), (1, 1))), hidden)
        rates = np.linspace(0, self.drop_path, sum(self.depths)).tolist()
        for number, (width, depth) in enumerate(zip(self.widths, self.depths, strict=True), start=1):
            drop_paths = tuple(rates.pop(0) for _ in range(depth))
            fields = self.bottleneck, self.initialiser, self.zero_last, drop_paths
            stage = Stage(width, 2 if number > 1 else 1, *fields, self.dtype, name=f"stage{number}")
            features = stage(features, train=train, hidden=hidden)
            pyramid[2 ** (1 + number)] = features
        return pyramid


def convolution(width: int, size: int, stride: int, initialiser: str, dtype: str, name: str) -> layers.Convolution:
    """Return a convolution with PyTorch's padding for ResNets: size // 2 zeros on every side; no bias."""
    sides = (size // 2, size // 2)
    return layers.Convolution(width, size, stride, False, initialiser, dtype, padding=(sides, sides), name=name)


def recipe(size: str = "small") -> ConfigDict:
    """Return the encoder of a size: tiny (tests; `zero_last` off), small (CPU; strides 2 to 16), resnet18, 34, 50, 101."""
    return spec(
        ResNet,
        **choose(
            size,
            tiny={"widths": (4, 8), "depths": (1, 1), "stem": 4, "bottleneck": False, "zero_last": False},
            small={
                "widths": (32, 64, 128),
                "depths": (1, 1, 1),
                "stem": 32,
                "bottleneck": False,
                "mean": (0.45,),
                "std": (0.25,),
            },
            resnet18={"depths": (2, 2, 2, 2), "bottleneck": False},
            resnet34={"depths": (3, 4, 6, 3), "bottleneck": False},
            resnet50={"depths": (3, 4, 6, 3)},
            resnet101={"depths": (3, 4, 23, 3)},
        ),
    )
