"""Convolution, pooling, upsampling and norms: the one place where the models get them.

Parameters are float32, and have the names and shapes of linen's own layers (`kernel` height, width, in, out; `bias`).
Kernels start as He et al. 2015 (arXiv 1502.01852, equation 10), for the ReLU that follows; `init="lecun"` is for
layers that no ReLU follows.
"""

import functools
import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from aeseg.models import fast_cpu
from aeseg.types import UserError

Padding = tuple[tuple[int, int], tuple[int, int]]

INITIALISERS = {"he": nn.initializers.he_normal(), "lecun": nn.initializers.lecun_normal()}


class Convolution(nn.Module):
    """A convolution with a square kernel; SAME padding as XLA means it: output size ceil(size / stride).

    `stride` > 1 with SAME pads more after than before; importers of PyTorch weights must pad by hand.
    """

    features: int
    size: int = 3
    stride: int = 1
    use_bias: bool = True
    init: str = "he"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"]) -> Float[Array, "b _ _ _"]:
        kernel, bias = _parameters(self, image.shape[-1])
        return _add_bias(convolve(image.astype(self.dtype), kernel.astype(self.dtype), self.stride), bias)


class UpsampledConvolution(nn.Module):
    """Nearest upsampling by 2, then a 3x3 convolution, without making the large image (see `upsample_convolve`)."""

    features: int
    use_bias: bool = True
    init: str = "he"
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
    init: str = "lecun"
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


def convolve(
    image: Float[Array, "b h w c"], kernel: Float[Array, "y x c d"], stride: int = 1, padding: Padding | None = None
) -> Float[Array, "b _ _ d"]:
    """The convolution of an image with a kernel; zeros around it as `padding` says, ((top, bottom), (left, right)), or SAME."""
    if padding is None:
        padding = tuple(lax.padtype_to_pads(image.shape[1:3], kernel.shape[:2], (stride, stride), "SAME"))
    return _convolve(image, kernel, stride, padding)


def upsample_convolve(image: Float[Array, "b h w c"], kernel: Float[Array, "3 3 c d"]) -> Float[Array, "b 2*h 2*w d"]:
    """Nearest upsampling by 2 and a 3x3 convolution, exactly, without the large image: 4/9 of the arithmetic.

    A pixel of the output sees only 2x2 pixels of the small image: in the even rows the kernel's last two rows see the same
    one, in the odd rows its first two.  So a 2x2 convolution of the small image gives, for each of the four parities,
    its own kernel, summed where taps coincide; at (i + y, j + x) stands the output's pixel (2i + y, 2j + x).
    """
    c, d = kernel.shape[2:]
    rows = jnp.stack([jnp.stack([kernel[0], kernel[1] + kernel[2]]), jnp.stack([kernel[0] + kernel[1], kernel[2]])], axis=1)
    left, middle, right = rows[:, :, 0], rows[:, :, 1], rows[:, :, 2]  # tap, parity, c, d
    both = jnp.stack(
        [jnp.stack([left, middle + right]), jnp.stack([left + middle, right])], axis=1
    )  # tap, parity, tap, parity, c, d
    small = both.transpose(2, 0, 4, 3, 1, 5).reshape(2, 2, c, 4 * d).astype(image.dtype)
    return _interleave(convolve(image, small, padding=((1, 1), (1, 1))))


def up_convolve(image: Float[Array, "b h w c"], kernel: Float[Array, "2 2 c d"]) -> Float[Array, "b 2*h 2*w d"]:
    """Each pixel times kernel[y, x], at (2i + y, 2j + x): one matrix product."""
    b, h, w, _ = image.shape
    product = jnp.einsum("bhwc,yxcd->bhywxd", image, kernel)
    return product.reshape(b, 2 * h, 2 * w, kernel.shape[-1])


def upsample(image: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w c"]:
    """Nearest upsampling by 2: each pixel four times."""
    b, h, w, c = image.shape
    return jnp.broadcast_to(image[:, :, None, :, None, :], (b, h, 2, w, 2, c)).reshape(b, 2 * h, 2 * w, c)


@jax.custom_vjp
def max_pool(image: Float[Array, "b h w c"]) -> Float[Array, "b h//2 w//2 c"]:
    """The greatest of each 2x2 pixels; an odd last row or column is left out.  The first of equals gets the gradient."""
    return functools.reduce(jnp.maximum, _quarters(image))


def resize(image: Float[Array, "b h w c"], height: int, width: int) -> Float[Array, "b height width c"]:
    """The image in another size, bilinear, without smoothing before it is made smaller."""
    shape = (image.shape[0], height, width, image.shape[-1])
    return jax.image.resize(image, shape, "bilinear", antialias=False)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(image: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    return _plain_convolve(image, kernel, stride, padding)


def _convolve_forward(image: Array, kernel: Array, stride: int, padding: Padding) -> tuple[Array, tuple[Array, Array]]:
    return _plain_convolve(image, kernel, stride, padding), (image, kernel)


def _convolve_backward(stride: int, padding: Padding, saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    image, kernel = saved

    def plain(image: Array, gradient: Array) -> Array:
        return jax.vjp(lambda kernel: _plain_convolve(image, kernel, stride, padding), kernel)[1](gradient)[0]

    def fast(image: Array, gradient: Array) -> Array:
        return fast_cpu.kernel_gradient(image, gradient, kernel.shape[:2], stride, padding)

    (to_image,) = jax.vjp(lambda image: _plain_convolve(image, kernel, stride, padding), image)[1](gradient)
    return to_image, lax.platform_dependent(image, gradient, cpu=fast, default=plain)


_convolve.defvjp(_convolve_forward, _convolve_backward)


def _plain_convolve(image: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(image, kernel, (stride, stride), padding, dimension_numbers=layout)


@jax.custom_vjp
def _interleave(parts: Array) -> Array:
    """[b h+1 w+1 4d] to [b 2h 2w d]: pixel (2i + y, 2j + x) is part (y, x) of pixel (i + y, j + x)."""
    b, h, w, d = parts.shape[0], parts.shape[1] - 1, parts.shape[2] - 1, parts.shape[3] // 4
    taken = [[parts[:, y : y + h, x : x + w, (2 * y + x) * d :][..., :d] for x in (0, 1)] for y in (0, 1)]
    return jnp.stack([jnp.stack(row, axis=3) for row in taken], axis=2).reshape(b, 2 * h, 2 * w, d)


def _interleave_backward(_: tuple[()], gradient: Array) -> tuple[Array]:
    quarters = _quarters(gradient)
    sides = [((0, 0), (y, 1 - y), (x, 1 - x), (0, 0)) for y in (0, 1) for x in (0, 1)]
    return (jnp.concatenate([jnp.pad(part, side) for part, side in zip(quarters, sides, strict=True)], axis=-1),)


_interleave.defvjp(lambda parts: (_interleave(parts), ()), _interleave_backward)


def _quarters(image: Array) -> list[Array]:
    """The four pixels of each 2x2, in reading order; an odd last row or column is left out."""
    h, w = image.shape[1] // 2 * 2, image.shape[2] // 2 * 2
    return [image[:, y:h:2, x:w:2] for y in (0, 1) for x in (0, 1)]


def _max_pool_forward(image: Array) -> tuple[Array, tuple[Array, Array]]:
    pooled = max_pool(image)
    return pooled, (image, pooled)


def _max_pool_backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array]:
    image, pooled = saved
    b, h, w, c = pooled.shape
    parts, taken = [], jnp.zeros(pooled.shape, bool)
    for quarter in _quarters(image):
        greatest = (quarter == pooled) & ~taken
        taken |= greatest
        parts.append(jnp.where(greatest, gradient, 0))
    whole = jnp.stack([jnp.stack(parts[:2], axis=3), jnp.stack(parts[2:], axis=3)], axis=2).reshape(b, 2 * h, 2 * w, c)
    return (jnp.pad(whole, ((0, 0), (0, image.shape[1] % 2), (0, image.shape[2] % 2), (0, 0))),)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def _parameters(module: nn.Module, channels: int) -> tuple[Array, Array | None]:
    shape = (module.size, module.size, channels, module.features)
    kernel = module.param("kernel", _initialiser(module.init), shape)
    bias = module.param("bias", nn.initializers.zeros_init(), shape[-1:]) if module.use_bias else None
    return kernel, None if bias is None else bias.astype(module.dtype)


def _initialiser(name: str) -> Callable[..., Array]:
    return INITIALISERS[name]


def _add_bias(image: Array, bias: Array | None) -> Array:
    return image if bias is None else image + bias.reshape(1, 1, 1, -1)


def dense(module: nn.Module, features: Float[Array, "b n"], units: int, name: str, init: str = "he") -> Float[Array, "b _"]:
    """A fully connected layer of `module`, which says clearly when its input has another size than at its start."""
    known = module.variables.get("params", {}).get(name)
    if known is not None and known["kernel"].shape != (features.shape[-1], units):
        inputs, outputs = known["kernel"].shape
        raise UserError(
            f"{type(module).__name__} has fully connected layers for one size of image: {name} was made for {inputs} numbers "
            f"in and {outputs} out; this image needs {features.shape[-1]} and {units}. Give it images of the size it was trained "
            "with (sliding windows do), or a convolutional model."
        )
    return nn.Dense(units, dtype=module.dtype, kernel_init=_initialiser(init), name=name, parent=module)(features)
