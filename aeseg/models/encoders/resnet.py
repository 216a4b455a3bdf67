"""ResNet, version 1.5: residual networks with batch norm."""

from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array, Bool, Float
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, UserError

EXPANSION = 4
"""How many times wider a bottleneck's output is than its middle (He et al. 2016, figure 5)."""


class Block(nn.Module):
    """Two 3x3 convolutions, or as a bottleneck 1x1, 3x3, 1x1, added to what came in (He et al. 2016, figure 5).

    The stride is that of the first 3x3 convolution ("v1.5"; the paper's bottleneck has it in its first 1x1).  Where the shape
    changes, a 1x1 convolution and norm stand in the shortcut (option B).  Paddings are those of PyTorch, before and after alike.
    """

    width: int
    stride: int
    bottleneck: bool
    dtype: str

    @nn.compact
    def __call__(self, features: Float[Array, "b h w d"], *, train: bool, hidden: Bool[Array, "b i j"] | None) -> Float[Array, "b _ _ _"]:
        width = self.width * EXPANSION if self.bottleneck else self.width
        sizes = (1, 3, 1) if self.bottleneck else (3, 3)
        branch = features
        for place, size in enumerate(sizes, start=1):
            last = place == len(sizes)
            stride = self.stride if place == sizes.index(3) + 1 else 1
            branch = convolution(width if last else self.width, size, stride, self.dtype, f"convolution{place}")(branch)
            branch = layers.normalise(branch, "batch", train=train, dtype=self.dtype, name=f"norm{place}", hidden=hidden)
            if not last:
                branch = layers.visible_only(nn.relu(branch), hidden)
        if self.stride > 1 or features.shape[-1] != width:
            features = convolution(width, 1, self.stride, self.dtype, "shortcut")(features)
            features = layers.normalise(features, "batch", train=train, dtype=self.dtype, name="shortcut_norm", hidden=hidden)
        return layers.visible_only(nn.relu(features + branch), hidden)


class Stage(nn.Module):
    """Blocks of one width; the first has the stage's stride."""

    width: int
    depth: int
    stride: int
    bottleneck: bool
    dtype: str

    @nn.compact
    def __call__(self, features: Float[Array, "b h w d"], *, train: bool, hidden: Bool[Array, "b i j"] | None) -> Float[Array, "b _ _ _"]:
        for place in range(self.depth):
            block = Block(self.width, 1 if place else self.stride, self.bottleneck, self.dtype, name=f"block{place}")
            features = block(features, train=train, hidden=hidden)
        return features


class ResNet(nn.Module):
    """A residual network (He et al. 2016, table 1) with strides as in "v1.5" (see `Block`).

    The pyramid holds the first convolution's features at stride 2, and what each stage gives at strides 4, 8, 16, 32.

    widths       of each stage's convolutions; a bottleneck's output is four times as wide
    depths       blocks of each stage
    stem         channels of the first, 7x7 convolution
    bottleneck   whether blocks are bottlenecks
    mean, std    the image is standardised by these; (0,), (1,) leave it in [0, 1]

    `hidden` [b i j] hides units of the image: the pyramid is zero there, and nothing there influences the rest of it, nor the
    statistics of the batch norms.
    """

    masked_mode: ClassVar[str] = "sparse"

    widths: tuple[int, ...] = (64, 128, 256, 512)
    depths: tuple[int, ...] = (3, 4, 6, 3)
    stem: int = 64
    bottleneck: bool = True
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.depths):
            raise UserError(
                f"ResNet has {len(self.widths)} widths {self.widths} and {len(self.depths)} depths {self.depths}. "
                "Give one of each for every stage."
            )
        super().__post_init__()

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], *, train: bool, hidden: Bool[Array, "b i j"] | None = None) -> Pyramid:
        coarsest = 2 ** (1 + len(self.widths))
        layers.check_size(image, coarsest, f"ResNet with coarsest stride {coarsest}", "fewer levels")
        layers.check_hidden(image, hidden, coarsest, "ResNet")
        features = layers.visible_only(layers.standardise(image, self.mean, self.std).astype(self.dtype), hidden)
        features = convolution(self.stem, 7, 2, self.dtype, "stem")(features)
        features = nn.relu(layers.normalise(features, "batch", train=train, dtype=self.dtype, name="stem_norm", hidden=hidden))
        pyramid = {2: layers.visible_only(features, hidden)}
        # Nothing is below 0, so neither padding nor hidden positions are ever the greatest of a visible neighbourhood.
        features = layers.visible_only(nn.max_pool(pyramid[2], (3, 3), (2, 2), ((1, 1), (1, 1))), hidden)
        for place, (width, depth) in enumerate(zip(self.widths, self.depths, strict=True), start=1):
            stage = Stage(width, depth, 2 if place > 1 else 1, self.bottleneck, self.dtype, name=f"stage{place}")
            features = stage(features, train=train, hidden=hidden)
            pyramid[2 ** (1 + place)] = features
        return pyramid


def convolution(width: int, size: int, stride: int, dtype: str, name: str) -> layers.Convolution:
    """A convolution as PyTorch's ResNets pad it: size // 2 zeros on every side, no bias."""
    sides = (size // 2, size // 2)
    return layers.Convolution(width, size, stride, use_bias=False, dtype=dtype, padding=(sides, sides), name=name)


def recipe(size: str = "small") -> ConfigDict:
    """tiny (tests), small (a CPU; strides 2 to 16), resnet18, resnet34, resnet50, resnet101 (the paper's)."""
    return spec(
        ResNet,
        **choose(
            size,
            tiny={"widths": (4, 8), "depths": (1, 1), "stem": 4, "bottleneck": False},
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
