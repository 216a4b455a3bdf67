"""Convolution and upsampling as functions: plain versions, and faster versions with equal results.

XLA on a CPU is slow at five things: the gradient of a convolution's kernel, convolutions of few channels, convolutions of small images
with large kernels, the gradients of a transposed convolution, and depthwise convolutions.  These functions have custom gradients, equal
to the plain gradients up to rounding.  The platform selects the version at compile time, so the program has no branch.  Where oneDNN is
installed and enabled (`onednn`), it computes the convolutions instead.
"""

import contextlib
import contextvars
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from aeseg.models import fast_cpu, onednn
from aeseg.models.pooling import quarters
from aeseg.models.products import product

Padding = tuple[tuple[int, int], tuple[int, int]]

_products = contextvars.ContextVar("_products", default=False)


@contextlib.contextmanager
def as_products() -> Iterator[None]:
    """Trace convolutions as matrix products of patches, which `jax.vmap` over kernels batches.

    A convolution with batched kernels becomes a grouped convolution, which cuDNN computes slowly: on an H200, 400 steps of 25 small
    U-Nets, half with groups and half one after another, took more than two minutes.
    """
    token = _products.set(True)
    try:
        yield
    finally:
        _products.reset(token)


def convolve(
    image: Float[Array, "b h w c"], kernel: Float[Array, "y x c d"], stride: int = 1, padding: Padding | None = None
) -> Float[Array, "b _ _ d"]:
    """Convolve an image with a kernel, with zero padding ((top, bottom), (left, right)), or SAME."""
    if padding is None:
        rows, columns = lax.padtype_to_pads(image.shape[1:3], kernel.shape[:2], (stride, stride), "SAME")
        padding = (rows, columns)
    if _products.get():
        return fast_cpu.convolution(image, kernel, stride, padding)
    return _convolve(image, kernel, stride, padding)


def dilated_convolve(image: Float[Array, "b h w c"], kernel: Float[Array, "y x c d"], dilation: int) -> Float[Array, "b h w d"]:
    """Convolve with a kernel whose taps are `dilation` pixels apart, with zero padding (SAME)."""
    if dilation == 1:
        return convolve(image, kernel)
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(image, kernel, (1, 1), "SAME", rhs_dilation=(dilation, dilation), dimension_numbers=layout)


@jax.jit  # traced once for all blocks of one shape: the fast version has a hundred operations
def depthwise_convolve(image: Float[Array, "b h w c"], kernel: Float[Array, "y x c"]) -> Float[Array, "b h w c"]:
    """Convolve each channel with its own kernel of odd size, with zero padding (SAME)."""
    return _depthwise(image, kernel)


def upsample_convolve(image: Float[Array, "b h w c"], kernel: Float[Array, "3 3 c d"]) -> Float[Array, "b 2*h 2*w d"]:
    """Upsample by 2 (nearest) and apply a 3x3 convolution, exactly, without the large image: 4/9 of the arithmetic.

    An output pixel sees only 2x2 pixels of the small image: in even rows the kernel's last two rows see the same pixel, in odd rows the
    first two.  So each of the four parities is a 2x2 convolution of the small image, whose kernel sums coinciding taps.  Its value at
    (i + y, j + x) is the output pixel (2i + y, 2j + x).
    """
    c, d = kernel.shape[2:]
    rows = jnp.stack([jnp.stack([kernel[0], kernel[1] + kernel[2]]), jnp.stack([kernel[0] + kernel[1], kernel[2]])], axis=1)
    left, middle, right = rows[:, :, 0], rows[:, :, 1], rows[:, :, 2]  # tap, parity, c, d
    both = jnp.stack([jnp.stack([left, middle + right]), jnp.stack([left + middle, right])], axis=1)  # tap, parity, tap, parity, c, d
    small = both.transpose(2, 0, 4, 3, 1, 5).reshape(2, 2, c, 4 * d).astype(image.dtype)
    return _interleave(convolve(image, small, padding=((1, 1), (1, 1))))


def up_convolve(image: Float[Array, "b h w c"], kernel: Float[Array, "2 2 c d"]) -> Float[Array, "b 2*h 2*w d"]:
    """Put each pixel times kernel[y, x] at (2i + y, 2j + x), by one matrix product."""
    (b, h, w, c), d = image.shape, kernel.shape[-1]
    parts = product(image, kernel.transpose(2, 0, 1, 3).reshape(c, 4 * d))
    return parts.reshape(b, h, w, 2, 2, d).transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, d)


def transpose_convolve(image: Float[Array, "b h w c"], kernel: Float[Array, "y y c d"], padding: int = 0) -> Float[Array, "b 2*h 2*w d"]:
    """Apply a transposed convolution with stride 2, cropped to twice the size, exactly, as four small convolutions.

    The kernel has 4, 8, ... pixels, or 3: the last 3 of 4, or with `padding` 1 the first 3.  With 4x4, an even row of the output sees
    rows 3 and 1 of the kernel, an odd row sees rows 2 and 0; columns likewise (see `upsample_convolve`).
    """
    return _transposed(image, kernel, padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _transposed(image: Array, kernel: Array, padding: int) -> Array:
    return _in_four_parities(image, kernel, padding)


def _in_four_parities(image: Array, kernel: Array, padding: int) -> Array:
    if kernel.shape[0] == 3:
        kernel = jnp.pad(kernel, ((1 - padding, padding), (1 - padding, padding), (0, 0), (0, 0)))
    (size, _, c, d), half = kernel.shape, kernel.shape[0] // 2
    parts = kernel[::-1, ::-1].reshape(half, 2, half, 2, c, d)  # tap, parity, tap, parity, c, d
    small = parts.transpose(0, 2, 4, 1, 3, 5).reshape(half, half, c, 4 * d).astype(image.dtype)
    return _interleave(convolve(image, small, padding=((size // 4, size // 4), (size // 4, size // 4))))


def _transposed_backward(padding: int, saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    """Differentiate; with few channels on a CPU, both gradients are those of the convolution with stride 2 that maps back to the image."""
    image, kernel = saved
    size, _, c, d = kernel.shape
    before = padding if size == 3 else size // 2 - 1
    sides = ((before, size - 2 - before), (before, size - 2 - before))

    def plain(image: Array, kernel: Array, gradient: Array) -> tuple[Array, Array]:
        return jax.vjp(lambda image, kernel: _in_four_parities(image, kernel, padding), image, kernel)[1](gradient)

    def strided(image: Array, kernel: Array, gradient: Array) -> tuple[Array, Array]:
        to_image = convolve(gradient, kernel.transpose(0, 1, 3, 2).astype(gradient.dtype), 2, sides)
        to_kernel = _fast_kernel_gradient(gradient, image, (size, size), 2, sides).transpose(0, 1, 3, 2)
        return to_image, to_kernel.astype(kernel.dtype)

    if c * d > fast_cpu.SMALL_KERNEL:
        return plain(image, kernel, gradient)
    return lax.platform_dependent(image, kernel, gradient, cpu=strided, default=plain)


_transposed.defvjp(lambda image, kernel, padding: (_in_four_parities(image, kernel, padding), (image, kernel)), _transposed_backward)


def upsample(image: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w c"]:
    """Upsample by 2 (nearest): repeat each pixel four times."""
    b, h, w, c = image.shape
    return jnp.broadcast_to(image[:, :, None, :, None, :], (b, h, 2, w, 2, c)).reshape(b, 2 * h, 2 * w, c)


def resize(image: Float[Array, "b h w c"], height: int, width: int) -> Float[Array, "b height width c"]:
    """Resize an image bilinearly, without antialiasing."""
    shape = (image.shape[0], height, width, image.shape[-1])
    return jax.image.resize(image, shape, "bilinear", antialias=False)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(image: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    return _value(image, kernel, stride, padding)


def _convolve_forward(image: Array, kernel: Array, stride: int, padding: Padding) -> tuple[Array, tuple[Array, Array]]:
    return _value(image, kernel, stride, padding), (image, kernel)


def _value(image: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    plain = functools.partial(_plain_convolve, stride=stride, padding=padding)
    if onednn.suits(image):
        fast = functools.partial(onednn.convolution, stride=stride, padding=padding)
        return lax.platform_dependent(image, kernel, cpu=fast, default=plain)
    if fast_cpu.suits_convolution(kernel.shape, image.shape, stride):
        fast = functools.partial(fast_cpu.convolution, stride=stride, padding=padding)
        return lax.platform_dependent(image, kernel, cpu=fast, default=plain)
    if fast_cpu.suits_folding(kernel.shape, stride):
        fast = functools.partial(fast_cpu.folded_convolution, padding=padding)
        return lax.platform_dependent(image, kernel, cpu=fast, default=plain)
    return plain(image, kernel)


def _convolve_backward(stride: int, padding: Padding, saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    image, kernel = saved

    def plain_kernel(image: Array, gradient: Array) -> Array:
        return jax.vjp(lambda kernel: _plain_convolve(image, kernel, stride, padding), kernel)[1](gradient)[0]

    def fast_kernel(image: Array, gradient: Array) -> Array:
        return _fast_kernel_gradient(image, gradient, kernel.shape[:2], stride, padding)

    def plain_image(kernel: Array, gradient: Array) -> Array:
        return jax.vjp(lambda image: _plain_convolve(image, kernel, stride, padding), image)[1](gradient)[0]

    def library_image(kernel: Array, gradient: Array) -> Array:
        return onednn.image_gradient(kernel, gradient, image.shape[1:3], stride, padding)

    def fast_image(kernel: Array, gradient: Array) -> Array:
        return fast_cpu.image_gradient(kernel, gradient, image.shape[1:3], stride, padding)

    def folded_image(kernel: Array, gradient: Array) -> Array:
        return fast_cpu.folded_convolution(gradient, kernel[::-1, ::-1].transpose(0, 1, 3, 2), (opposite[0], opposite[1]))

    opposite = tuple((length - 1 - before, length - 1 - after) for length, (before, after) in zip(kernel.shape, padding, strict=False))
    if onednn.suits(image):
        to_image = lax.platform_dependent(kernel, gradient, cpu=library_image, default=plain_image)
    elif fast_cpu.suits_image_gradient(kernel.shape, gradient.shape):
        to_image = lax.platform_dependent(kernel, gradient, cpu=fast_image, default=plain_image)
    elif fast_cpu.suits_folding(kernel.shape, stride) and min(map(min, opposite)) >= 0:
        to_image = lax.platform_dependent(kernel, gradient, cpu=folded_image, default=plain_image)
    else:
        to_image = plain_image(kernel, gradient)
    return to_image, lax.platform_dependent(image, gradient, cpu=fast_kernel, default=plain_kernel)


def _fast_kernel_gradient(image: Array, gradient: Array, size: tuple[int, ...], stride: int, padding: Padding) -> Array:
    if onednn.suits(image):
        return onednn.kernel_gradient(image, gradient, size, stride, padding)
    return fast_cpu.kernel_gradient(image, gradient, size, stride, padding)


_convolve.defvjp(_convolve_forward, _convolve_backward)


def _plain_convolve(image: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(image, kernel, (stride, stride), padding, dimension_numbers=layout)


@jax.custom_vjp
def _depthwise(image: Array, kernel: Array) -> Array:
    return _depthwise_value(image, kernel)


def _depthwise_value(image: Array, kernel: Array) -> Array:
    fast = onednn.depthwise_convolution if onednn.suits(image) else fast_cpu.depthwise_convolution
    return lax.platform_dependent(image, kernel, cpu=fast, default=_plain_depthwise)


def _depthwise_backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    image, kernel = saved

    def plain_kernel(image: Array, gradient: Array) -> Array:
        return jax.vjp(lambda kernel: _plain_depthwise(image, kernel), kernel)[1](gradient)[0]

    def fast_kernel(image: Array, gradient: Array) -> Array:
        gradient_of = onednn.depthwise_kernel_gradient if onednn.suits(image) else fast_cpu.depthwise_kernel_gradient
        return gradient_of(image, gradient, kernel.shape[:2])

    # The gradient of the image is also a depthwise convolution, with the kernel flipped.
    to_image = _depthwise_value(gradient, kernel[::-1, ::-1])
    return to_image, lax.platform_dependent(image, gradient, cpu=fast_kernel, default=plain_kernel)


_depthwise.defvjp(lambda image, kernel: (_depthwise_value(image, kernel), (image, kernel)), _depthwise_backward)


def _plain_depthwise(image: Array, kernel: Array) -> Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        image, kernel[:, :, None], (1, 1), "SAME", dimension_numbers=layout, feature_group_count=kernel.shape[-1]
    )


@jax.custom_vjp
def _interleave(parts: Array) -> Array:
    return _interleaved(parts)


def _interleaved(parts: Array) -> Array:
    """Rearrange [b h+1 w+1 4d] to [b 2h 2w d]: pixel (2i + y, 2j + x) is part (y, x) of pixel (i + y, j + x)."""
    b, h, w, d = parts.shape[0], parts.shape[1] - 1, parts.shape[2] - 1, parts.shape[3] // 4
    taken = [[parts[:, y : y + h, x : x + w, (2 * y + x) * d :][..., :d] for x in (0, 1)] for y in (0, 1)]
    return jnp.stack([jnp.stack(row, axis=3) for row in taken], axis=2).reshape(b, 2 * h, 2 * w, d)


def _interleave_backward(_: tuple[()], gradient: Array) -> tuple[Array]:
    parts = quarters(gradient)
    sides = [((0, 0), (y, 1 - y), (x, 1 - x), (0, 0)) for y in (0, 1) for x in (0, 1)]
    return (jnp.concatenate([jnp.pad(part, side) for part, side in zip(parts, sides, strict=True)], axis=-1),)


_interleave.defvjp(lambda parts: (_interleaved(parts), ()), _interleave_backward)
