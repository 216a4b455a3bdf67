"""VGG with batch norm: the encoders of SegNet and Bayesian SegNet."""

from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array, Bool, Float
from ml_collections import ConfigDict

from aeseg import images
from aeseg.models import layers
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, UserError


class VGG(nn.Module):
    """Levels of convolutions with batch norm and ReLU, each followed by 2x2 max pooling.

    SegNet's encoder (Badrinarayanan et al. 2017, section 3) is the 13 convolutions of VGG16 (Simonyan & Zisserman 2015, table 1,
    column D) with batch norm. SegNet-Basic (section 3.1) has four levels of one 7x7 convolution with 64 channels.

    The pyramid holds the output of each level before pooling, at strides 1, 2, 4, ..., which gives a head the positions of the
    maxima, and at the last stride, 2 ** len(widths), the pooled features. An odd last row or column is pooled alone (Caffe's rule),
    so images of any size work: 360 x 480 becomes 23 x 30 at stride 16.

    widths          channels of each level
    convolutions    number of convolutions of each level
    size            kernel size
    contrast        sigma, in pixels, of the local contrast normalisation of the image (see `images.local_contrast`); 0: none. The
                    paper (section 3.2) does not give it; the authors' prototxts use Caffe's LRN for SegNet-Basic, none for SegNet
    mean, std       standardise the image if `contrast` is 0
    dropout         rate of dropout after the poolings of the last `dropout_levels` levels; 0: none. Bayesian SegNet (Kendall et al.
                    2015, arXiv 1511.02680, section 3, and the authors' prototxts): 0.5 after three of VGG16's five levels, and
                    after two of SegNet-Basic's four

    `hidden` [b i j] hides units of the image: the pyramid is zero there, and hidden pixels do not affect the rest.
    """

    masked_mode: ClassVar[str] = "sparse"

    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    convolutions: tuple[int, ...] = (2, 2, 3, 3, 3)
    size: int = 3
    norm: str = "batch"
    contrast: float = 0.0
    mean: tuple[float, ...] = (0.45,)
    std: tuple[float, ...] = (0.25,)
    dropout: float = 0.0
    dropout_levels: int = 3
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if len(self.convolutions) != len(self.widths):
            raise UserError(
                f"VGG needs one number of convolutions for each of its widths {tuple(self.widths)}; got {tuple(self.convolutions)}. "
                "Give as many convolutions as widths."
            )
        super().__post_init__()

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], *, train: bool, hidden: Bool[Array, "b i j"] | None = None) -> Pyramid:
        coarsest = 2 ** len(self.widths)
        layers.check_hidden(image, hidden, coarsest, "VGG")
        image = layers.visible_only(image, hidden)
        if self.contrast:
            image = images.local_contrast(image, self.contrast)
        else:
            image = layers.standardise(image, self.mean, self.std)
        features = layers.visible_only(image.astype(self.dtype), hidden)
        pyramid = {}
        for level, (width, convolutions) in enumerate(zip(self.widths, self.convolutions, strict=True)):
            block = layers.ConvolutionBlock(width, convolutions, self.norm, dtype=self.dtype, size=self.size, name=f"level{level}")
            pyramid[2**level] = block(features, train=train, hidden=hidden)
            features = layers.max_pool(layers.even(pyramid[2**level]))
            if level >= len(self.widths) - self.dropout_levels:
                features = layers.dropout(self, features, self.dropout, train=train)
        return {**pyramid, coarsest: features}


def recipe(size: str = "small") -> ConfigDict:
    """Return the encoder of a size: tiny (tests), small (CPU), vgg16 (SegNet), basic (SegNet-Basic, with local contrast).

    bayesian and bayesian_basic are vgg16 and basic with the dropout of Bayesian SegNet.
    """
    basic = {"widths": (64, 64, 64, 64), "convolutions": (1, 1, 1, 1), "size": 7, "contrast": 3.0}
    return spec(
        VGG,
        **choose(
            size,
            tiny={"widths": (4, 8), "convolutions": (1, 2)},
            small={"widths": (16, 32, 64, 64), "convolutions": (1, 1, 2, 2)},
            vgg16={},
            basic=basic,
            bayesian={"dropout": 0.5},
            bayesian_basic={**basic, "dropout": 0.5, "dropout_levels": 2},
        ),
    )
