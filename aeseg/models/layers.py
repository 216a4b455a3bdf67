"""Convolution, pooling, upsampling and norms: the one place where the models get them (their arithmetic is in `forms`).

Parameters are float32, and have the names and shapes of linen's own layers (`kernel` height, width, in, out; `bias`).
Kernels start as He et al. 2015 (arXiv 1502.01852, equation 10), for the ReLU that follows; `initialiser="lecun"` is for
layers that no ReLU follows.
"""

import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from aeseg.models.forms import convolve, max_pool, resize, up_convolve, upsample, upsample_convolve
from aeseg.types import UserError

__all__ = [
    "Convolution",
    "ConvolutionBlock",
    "UpConvolution",
    "UpsampledConvolution",
    "convolve",
    "dense",
    "max_pool",
    "normalise",
    "resize",
    "standardise",
    "unstandardise",
    "up_convolve",
    "upsample",
    "upsample_convolve",
]

INITIALISERS = {"he": nn.initializers.he_normal(), "lecun": nn.initializers.lecun_normal()}


class Convolution(nn.Module):
    """A convolution with a square kernel; SAME padding as XLA means it: output size ceil(size / stride).

    `stride` > 1 with SAME pads more after than before; importers of PyTorch weights must pad by hand.
    """

    features: int
    size: int = 3
    stride: int = 1
    use_bias: bool = True
    initialiser: str = "he"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"]) -> Float[Array, "b _ _ _"]:
        kernel, bias = _parameters(self, image.shape[-1])
        return _add_bias(convolve(image.astype(self.dtype), kernel.astype(self.dtype), self.stride), bias)


class UpsampledConvolution(nn.Module):
    """Nearest upsampling by 2, then a 3x3 convolution, without making the large image (see `upsample_convolve`)."""

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
    """The 2x2 up-convolution of U-Net (Ronneberger et al. 2015, section 2): each pixel becomes 2x2 pixels.

    Pixel (2i + y, 2j + x) of the output is pixel (i, j) of the input times kernel[y, x]: torch's ConvTranspose2d(2, 2)
    with its weight transposed to height, width, in, out.  (`nn.ConvTranspose` holds the same kernel flipped.)
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


class ConvolutionBlock(nn.Module):
    """`convolutions` times: 3x3 convolution, norm, ReLU."""

    features: int
    convolutions: int = 1
    norm: str = "none"
    use_bias: bool = True
    dtype: str = "float32"

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w _"]:
        for place in range(self.convolutions):
            image = Convolution(self.features, use_bias=self.use_bias, dtype=self.dtype, name=f"convolution{place}")(image)
            image = nn.relu(normalise(image, self.norm, train=train, dtype=self.dtype, name=f"norm{place}"))
        return image


def normalise(image: Float[Array, "b h w c"], norm: str, *, train: bool, dtype: str, name: str) -> Float[Array, "b h w c"]:
    """The image after a norm: "none", "batch" (Ioffe & Szegedy 2015) or "group" (Wu & He 2018).  Call it inside a module.

    Batch: running averages move by 0.1 a step, epsilon 1e-5 (PyTorch's defaults); under jit over several devices the
    statistics are those of the global batch.  Group: 32 groups, or as many as divide both 32 and the channels.
    """
    if norm == "none":
        return image
    if norm == "batch":
        return nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5, dtype=dtype, name=name)(image)
    if norm == "group":
        return nn.GroupNorm(num_groups=math.gcd(image.shape[-1], 32), epsilon=1e-5, dtype=dtype, name=name)(image)
    raise UserError(f"A norm is one of none, batch, group; this model's is {norm!r}. Set norm to one of them.")


def standardise(image: Float[Array, "b h w c"], mean: Sequence[float], std: Sequence[float]) -> Float[Array, "b h w c"]:
    """(image - mean) / std, one number for all channels or one for each."""
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, image.shape[-1]):
            raise UserError(
                f"The encoder standardises {len(values)} channels; the image has {image.shape[-1]}. "
                f"Give {name} one number, or one for each channel."
            )
    if all(value == 0 for value in mean) and all(value == 1 for value in std):
        return image
    return (image - jnp.asarray(mean).reshape(1, 1, 1, -1)) / jnp.asarray(std).reshape(1, 1, 1, -1)


def unstandardise(image: Float[Array, "b h w c"], mean: Sequence[float], std: Sequence[float]) -> Float[Array, "b h w c"]:
    """The inverse of `standardise`."""
    return image * jnp.asarray(std).reshape(1, 1, 1, -1) + jnp.asarray(mean).reshape(1, 1, 1, -1)


def dense(module: nn.Module, features: Float[Array, "b n"], units: int, name: str, initialiser: str = "he") -> Float[Array, "b _"]:
    """A fully connected layer of `module`, which says clearly when its input has another size than at its start."""
    known = module.variables.get("params", {}).get(name)
    if known is not None and known["kernel"].shape != (features.shape[-1], units):
        inputs, outputs = known["kernel"].shape
        raise UserError(
            f"{type(module).__name__} has fully connected layers for one size of image: {name} was made for {inputs} numbers "
            f"in and {outputs} out; this image needs {features.shape[-1]} and {units}. Give it images of the size it was trained "
            "with (sliding windows do), or a convolutional model."
        )
    return nn.Dense(units, dtype=module.dtype, kernel_init=_initialiser(initialiser), name=name, parent=module)(features)


def _parameters(module: nn.Module, channels: int) -> tuple[Array, Array | None]:
    shape = (module.size, module.size, channels, module.features)
    kernel = module.param("kernel", _initialiser(module.initialiser), shape)
    bias = module.param("bias", nn.initializers.zeros_init(), shape[-1:]) if module.use_bias else None
    return kernel, None if bias is None else bias.astype(module.dtype)


def _initialiser(name: str) -> Callable[..., Array]:
    return INITIALISERS[name]


def _add_bias(image: Array, bias: Array | None) -> Array:
    return image if bias is None else image + bias.reshape(1, 1, 1, -1)
