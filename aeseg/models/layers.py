"""Layers of all models: the modules here, and the functions of `ops`, `pooling`, `products` and `norms`, which have the arithmetic.

Parameters are float32, with the names and shapes of linen's layers (`kernel` height, width, in, out; `bias`).
Kernels are initialised by He et al. 2015 (arXiv 1502.01852, equation 10), for a ReLU after the layer.  Other initialisers: "lecun", for
layers without a ReLU; "bilinear", for upsampling; "narrow" (normal, 0.02, truncated at two standard deviations), for transformers and
ConvNeXt; "he_out" (normal, variance 2 / (k^2 out); He et al. 2015, equation 14), for ResNets, as in torchvision and timm; "zeros", for
the last layer of a network that predicts a residual.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from aeseg.models.norms import LayerNorm, dropout, layer_norm, normalise, standardise, unstandardise
from aeseg.models.ops import (
    Padding,
    convolve,
    depthwise_convolve,
    dilated_convolve,
    resize,
    transpose_convolve,
    up_convolve,
    upsample,
    upsample_convolve,
)
from aeseg.models.pooling import even, max_pool, max_unpool
from aeseg.models.products import attention, gelu, product
from aeseg.models.sparse import check_hidden, visible_at, visible_only
from aeseg.types import UserError

__all__ = [
    "Convolution",
    "ConvolutionBlock",
    "Dense",
    "DepthwiseConvolution",
    "DilatedConvolution",
    "LayerNorm",
    "TransposedConvolution",
    "UpConvolution",
    "UpsampledConvolution",
    "attention",
    "check_hidden",
    "check_size",
    "convolve",
    "dense",
    "depthwise_convolve",
    "dropout",
    "even",
    "gelu",
    "layer_norm",
    "max_pool",
    "max_unpool",
    "normalise",
    "resize",
    "standardise",
    "transpose_convolve",
    "unstandardise",
    "up_convolve",
    "upsample",
    "upsample_convolve",
    "visible_at",
    "visible_only",
]


def _bilinear(key: Array, shape: tuple[int, int, int, int], dtype: str = "float32") -> Array:
    """Return the transposed convolution kernel of bilinear upsampling by 2, channel by channel (Long et al. 2015, section 3.3)."""
    del key
    tent = jnp.pad(jnp.array([0.25, 0.75, 0.75, 0.25], dtype), (shape[0] - 4) // 2)
    return jnp.einsum("y,x,cd->yxcd", tent, tent, jnp.eye(*shape[2:], dtype=dtype))


INITIALISERS = {
    "bilinear": _bilinear,
    "he": nn.initializers.he_normal(),
    "he_out": nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
    "lecun": nn.initializers.lecun_normal(),
    "narrow": nn.initializers.truncated_normal(0.02),
    "zeros": nn.initializers.zeros_init(),
}


def _last_with_first(features: Array, kernel: Array, _dimensions: Any, **fields: Any) -> Array:
    """Contract the last axis of the features with the first of the kernel, as flax's Dense asks its `dot_general` to."""
    return product(features, kernel, **fields)


Dense = functools.partial(nn.Dense, dot_general=_last_with_first)
"""Fully connected layer of the last axis: flax's, with a faster gradient (see `products.product`)."""


class Convolution(nn.Module):
    """Convolution with a square kernel; default padding is XLA's SAME: output size ceil(size / stride).

    With `stride` > 1, SAME pads more after than before.  `padding` sets explicit padding, for models from PyTorch.
    """

    features: int
    size: int = 3
    stride: int = 1
    use_bias: bool = True
    initialiser: str = "he"
    dtype: str = "float32"
    padding: Padding | None = None

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"]) -> Float[Array, "b _ _ _"]:
        kernel, bias = _parameters(self, image.shape[-1])
        return _add_bias(convolve(image.astype(self.dtype), kernel.astype(self.dtype), self.stride, self.padding), bias)


class DepthwiseConvolution(nn.Module):
    """Depthwise convolution with square kernels of odd size, SAME padding; `kernel` is size, size, 1, c."""

    size: int = 7
    initialiser: str = "narrow"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        kernel = self.param("kernel", _initialiser(self.initialiser), (self.size, self.size, 1, image.shape[-1]))
        bias = self.param("bias", nn.initializers.zeros_init(), image.shape[-1:])
        convolved = depthwise_convolve(image.astype(self.dtype), kernel[:, :, 0].astype(self.dtype))
        return _add_bias(convolved, bias.astype(self.dtype))


class DilatedConvolution(nn.Module):
    """Convolution with a kernel of odd `size` (height, width) and taps `dilation` pixels apart (Yu & Koltun 2016); SAME, no bias."""

    features: int
    size: tuple[int, int] = (3, 3)
    dilation: int = 1
    dtype: str = "float32"

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"]) -> Float[Array, "b h w _"]:
        kernel = self.param("kernel", _initialiser("he"), (*self.size, image.shape[-1], self.features))
        return dilated_convolve(image.astype(self.dtype), kernel.astype(self.dtype), self.dilation)


class UpsampledConvolution(nn.Module):
    """Nearest upsampling by 2, then a 3x3 convolution, without the large intermediate image (see `upsample_convolve`)."""

    features: int
    use_bias: bool = True
    initialiser: str = "he"
    dtype: str = "float32"
    size = 3

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w _"]:
        kernel, bias = _parameters(self, image.shape[-1])
        return _add_bias(upsample_convolve(image.astype(self.dtype), kernel), bias)


class UpConvolution(nn.Module):
    """U-Net's 2x2 up-convolution (Ronneberger et al. 2015, section 2): each pixel becomes 2x2 pixels.

    Pixel (2i + y, 2j + x) of the output is pixel (i, j) of the input times kernel[y, x]: torch's ConvTranspose2d(2, 2)
    with its weight transposed to height, width, in, out.  (`nn.ConvTranspose` stores the flipped kernel.)
    """

    features: int
    use_bias: bool = True
    initialiser: str = "lecun"
    dtype: str = "float32"
    size = 2

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w _"]:
        kernel, bias = _parameters(self, image.shape[-1])
        return _add_bias(up_convolve(image.astype(self.dtype), kernel.astype(self.dtype)), bias)


class TransposedConvolution(nn.Module):
    """Transposed convolution with stride 2: torch's ConvTranspose2d(4, 2, 1) or (8, 2, 3), or (3, 2) cropped at the end.

    `padding` is torch's and only for kernels of 3 pixels: 0 as above, or 1 for ConvTranspose2d(3, 2, 1, output_padding=1).  `kernel` is
    height, width, in, out; with `initialiser="bilinear"` it starts as bilinear upsampling of each channel.
    """

    features: int
    size: int = 4
    use_bias: bool = True
    initialiser: str = "lecun"
    dtype: str = "float32"
    padding: int = 0

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w _"]:
        kernel, bias = _parameters(self, image.shape[-1])
        return _add_bias(transpose_convolve(image.astype(self.dtype), kernel.astype(self.dtype), self.padding), bias)


class ConvolutionBlock(nn.Module):
    """`convolutions` repetitions of convolution (3x3, or another `size`), norm and ReLU."""

    features: int
    convolutions: int = 1
    norm: str = "none"
    use_bias: bool = True
    dtype: str = "float32"
    size: int = 3

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w c"], *, train: bool, hidden: Bool[Array, "b i j"] | None = None
    ) -> Float[Array, "b h w _"]:
        for number in range(self.convolutions):
            convolution = Convolution(self.features, self.size, use_bias=self.use_bias, dtype=self.dtype, name=f"convolution{number}")
            image = convolution(image)
            image = nn.relu(normalise(image, self.norm, train=train, dtype=self.dtype, name=f"norm{number}", hidden=hidden))
            image = visible_only(image, hidden)
        return image


def check_size(image: Float[Array, "b h w c"], stride: int, reader: str, remedy: str) -> None:
    """Raise UserError with the nearest valid size if `stride` does not divide the size of the image that `reader` reads."""
    h, w = image.shape[1:3]
    if h % stride or w % stride:
        near = [max(1, round(side / stride)) * stride for side in (h, w)]
        raise UserError(
            f"{reader} takes sizes divisible by {stride}; the image is {h} x {w}. "
            f"Resize or pad it to {near[0]} x {near[1]}, or give the encoder {remedy}."
        )


def dense(module: nn.Module, features: Float[Array, "b n"], units: int, name: str, initialiser: str = "he") -> Float[Array, "b _"]:
    """Apply a fully connected layer of `module`; UserError if the input's size differs from the size at initialisation."""
    known = module.variables.get("params", {}).get(name)
    if known is not None and known["kernel"].shape != (features.shape[-1], units):
        inputs, outputs = known["kernel"].shape
        raise UserError(
            f"{type(module).__name__} has fully connected layers for one size of image: {name} was made for {inputs} numbers "
            f"in and {outputs} out; this image needs {features.shape[-1]} and {units}. Give it images of the size it was trained "
            "with (sliding windows do), or a convolutional model."
        )
    return Dense(units, dtype=module.dtype, kernel_init=_initialiser(initialiser), name=name, parent=module)(features)


def _parameters(module: nn.Module, channels: int) -> tuple[Array, Array | None]:
    shape = (module.size, module.size, channels, module.features)
    kernel = module.param("kernel", _initialiser(module.initialiser), shape)
    bias = module.param("bias", nn.initializers.zeros_init(), shape[-1:]) if module.use_bias else None
    return kernel, None if bias is None else bias.astype(module.dtype)


def _initialiser(name: str) -> Callable[..., Array]:
    return INITIALISERS[name]


def _add_bias(image: Array, bias: Array | None) -> Array:
    return image if bias is None else image + bias.reshape(1, 1, 1, -1)
