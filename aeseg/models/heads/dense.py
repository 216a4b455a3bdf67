"""A fully connected head for images of one size."""

from typing import ClassVar

import flax.linen as nn
from ml_collections import ConfigDict

from aeseg.models import layers
from aeseg.spec import choose, spec
from aeseg.types import Pyramid, UserError, at_stride


class DenseHead(nn.Module):
    """A 3x3 convolution with ReLU, and a fully connected layer from all features to the logits of all pixels.

    The kernel has (h / stride * w / stride * width) x (h / output_stride * w / output_stride * classes) parameters and fits one
    size of image: 12.6 million for 64 x 64, stride 8, width 8, 6 classes. `output_stride` > 1 classifies squares of pixels, with
    output_stride^2 times fewer parameters.
    """

    one_size: ClassVar[bool] = True
    """Whether positions or layers are made for one size of image, so that larger windows are not scored."""

    classes: int
    width: int = 8
    stride: int = 8
    output_stride: int = 1
    dtype: str = "float32"

    @nn.compact
    def __call__(self, pyramid: Pyramid, *, train: bool) -> Pyramid:
        features = at_stride(pyramid, self.stride, "DenseHead").astype(self.dtype)
        b, rows, columns, _ = features.shape
        h, w = rows * self.stride, columns * self.stride
        if h % self.output_stride or w % self.output_stride:
            raise UserError(
                f"DenseHead gives logits at stride {self.output_stride}; the image is {h} x {w}. "
                "Set output_stride to a divisor of both sides."
            )
        features = nn.relu(layers.Convolution(self.width, dtype=self.dtype, name="convolution")(features)).reshape(b, -1)
        shape = (h // self.output_stride, w // self.output_stride, self.classes)
        logits = layers.dense(self, features, shape[0] * shape[1] * shape[2], "logits", initialiser="lecun")
        return {self.output_stride: logits.reshape(b, *shape)}


def recipe(size: str = "small", classes: int = 2) -> ConfigDict:
    """Return the head of a size: tiny (tests; stride 4), small (stride 8, classifies squares of 2x2 pixels), reference."""
    return spec(
        DenseHead,
        classes=classes,
        **choose(size, tiny={"width": 4, "stride": 4}, small={"output_stride": 2}, reference={"width": 16}),
    )
