"""Exact forms of convolutions and their gradients, where XLA is slow on a CPU.  Only `ops` uses them."""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

TERMS = 64
"""Products that one fused loop of `depthwise_kernel_gradient` adds up: more make it no faster, but slow to compile."""

IN_CACHE = 2**15
"""Numbers of the gradient in one block of `_convolved`: half of a second-level cache of 256 KiB."""

SMALL_KERNEL = 2**16
"""The most input times output channels for `_convolved`, which adds up a whole kernel for each block."""

FEW_CHANNELS = 17
"""YNNPACK gets a convolution from XLA if it has so many channels in or out."""

NHWC = ("NHWC", "HWIO", "NHWC")

Padding = tuple[tuple[int, int], tuple[int, int]]


def kernel_gradient(
    image: Float[Array, "b h w c"],
    gradient: Float[Array, "b i j d"],
    size: tuple[int, ...],
    stride: int,
    padding: tuple[tuple[int, int], ...],
) -> Float[Array, "y x c d"]:
    """Gradient of a convolution's kernel.

    kernel[y, x, c, d] gets sum over b, i, j of image[b, stride i + y, stride j + x, c] gradient[b, i, j, d].  At stride 1 the roles
    of image and gradient are exchanged if the gradient has fewer channels: the same sum gives the flipped kernel.
    """
    c, d = image.shape[-1], gradient.shape[-1]
    other = tuple((length - 1 - before, length - 1 - after) for length, (before, after) in zip(size, padding, strict=True))
    if stride == 1 and c > d and all(side >= 0 for sides in other for side in sides):
        return _sum(gradient, image, size, 1, other).transpose(0, 1, 3, 2)[::-1, ::-1].astype(image.dtype)
    return _sum(image, gradient, size, stride, padding).astype(image.dtype)


def _sum(
    image: Float[Array, "b h w c"], under: Float[Array, "b i j d"], size: tuple[int, ...], stride: int, padding: tuple[tuple[int, int], ...]
) -> Float[Array, "y x c d"]:
    """Sum over b, i, j of (patch of `image` at i, j) x (`under` at i, j), in the faster of two forms."""
    small = image.shape[-1] * under.shape[-1] <= SMALL_KERNEL
    form = _convolved if small and image.dtype == jnp.float32 and convolves_without_copies() else _patch_products
    return form(image, under, (size[0], size[1]), stride, (padding[0], padding[1]))


def _convolved(
    image: Float[Array, "b h w c"], under: Float[Array, "b i j d"], size: tuple[int, int], stride: int, padding: Padding
) -> Float[Array, "y x c d"]:
    """The sum as a convolution with `under` as the kernel, one block of rows of one image at a time; patches are never copied.

    Columns and channels of the image are one axis, and the kernel's taps stand stride x c apart on it: the value at place x c + k
    is the sum for column x and channel k.  If `under` has few channels, `fold` columns of it become channels, and the
    sums that they share are added up afterwards.
    """
    (b, rows, columns, d), c = under.shape, image.shape[-1]
    fold = columns_as_channels(d, FEW_CHANNELS)
    blocks = -(-rows * columns * d // IN_CACHE)
    block, wide = -(-rows // blocks), -(-columns // fold) * fold
    blocks = -(-rows // block)
    under = jnp.pad(under, ((0, 0), (0, blocks * block - rows), (0, wide - columns), (0, 0)))
    under = under.reshape(b * blocks, block, wide // fold, 1, fold * d)
    needed = ((blocks * block - 1) * stride + size[0], (wide - 1) * stride + size[1])
    sides = [(before, need - side - before, 0) for (before, _), need, side in zip(padding, needed, image.shape[1:3], strict=True)]
    image = lax.pad(image, jnp.zeros((), image.dtype), ((0, 0, 0), *sides, (0, 0, 0))).reshape(b, needed[0], needed[1] * c)
    span, taps = (block - 1) * stride + size[0], size[1] + (fold - 1) * stride

    def add(total: Array, place: Array) -> tuple[Array, None]:
        part = lax.dynamic_slice(image, (place // blocks, place % blocks * block * stride, 0), (1, span, needed[1] * c))
        kernel = lax.dynamic_index_in_dim(under, place, keepdims=False)
        dilation = (stride, fold * stride * c)
        return total + lax.conv_general_dilated(
            part[..., None], kernel, (1, 1), "VALID", rhs_dilation=dilation, dimension_numbers=NHWC
        ), None

    total, _ = lax.scan(add, jnp.zeros((1, size[0], taps * c, fold * d), jnp.float32), jnp.arange(b * blocks))
    total = total.reshape(size[0], taps, c, fold, d)
    return sum(total[:, part * stride : part * stride + size[1], :, part] for part in range(fold))  # type: ignore[return-value]


def columns_as_channels(channels: int, enough: int) -> int:
    """How many columns of an image, a power of two, give `enough` channels together."""
    return 1 << max(0, (enough - 1) // channels).bit_length()


@functools.cache
def convolves_without_copies() -> bool:
    """True if XLA gives convolutions in float32 to YNNPACK, which reads patches where they lie; Eigen copies them.

    Asked of the compiler itself, once, with the smallest convolution of the kind.
    """
    if jax.default_backend() != "cpu":
        return False
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((1, 10, 80, 1), (8, 8, 1, 32))]

    def convolve(image: Array, kernel: Array) -> Array:
        return lax.conv_general_dilated(image, kernel, (1, 1), "VALID", rhs_dilation=(1, 8), dimension_numbers=NHWC)

    return " convolution(" not in jax.jit(convolve).lower(*shapes).compile().as_text().split("ENTRY")[-1]  # type: ignore[union-attr]


def _patch_products(
    image: Float[Array, "b h w c"], under: Float[Array, "b i j d"], size: tuple[int, ...], stride: int, padding: tuple[tuple[int, int], ...]
) -> Float[Array, "y x c d"]:
    """Sum over b, i, j of (patch of `image` at i, j) x (`under` at i, j).

    Channels come first in the patches: a product whose left matrix lies that way is twice as fast as one that turns it round.
    """
    (b, rows, columns, d), c = under.shape, image.shape[-1]
    # A block of rows; the last block is filled up with rows of zeros, which add nothing.
    block = min(rows, max(1, pixels(c) // (b * columns)))
    blocks = -(-rows // block)
    under = jnp.pad(under, ((0, 0), (0, blocks * block - rows), (0, 0), (0, 0)))
    span = (block - 1) * stride + size[0]
    missing = (blocks * block - 1) * stride + size[0] - image.shape[1] - padding[0][0]
    sides = ((0, 0, 0), (0, 0, 0), (padding[0][0], missing, 0), (*padding[1], 0))
    image = lax.pad(image.transpose(3, 0, 1, 2), jnp.zeros((), image.dtype), sides)

    def product(place: Array | int) -> Array:
        part = lax.dynamic_slice_in_dim(image, place * block * stride, span, axis=2)
        patches = jnp.stack(
            [
                part[:, :, y : y + (block - 1) * stride + 1 : stride, x : x + (columns - 1) * stride + 1 : stride]
                for y in range(size[0])
                for x in range(size[1])
            ]
        )
        below = lax.dynamic_slice_in_dim(under, place * block, block, axis=1).reshape(-1, d)
        return _product(patches.reshape(-1, below.shape[0]), below)

    if blocks == 1:
        total = product(0)
    else:
        start = jnp.zeros((size[0] * size[1] * c, d), jnp.float32)
        total = lax.scan(lambda total, place: (total + product(place), None), start, jnp.arange(blocks))[0]
    return total.reshape(*size, c, d)


def pixels(c: int) -> int:
    """How many pixels one matrix product takes: as many as keep their patches in the second-level cache."""
    return max(512, 2**17 // c)


def suits_convolution(kernel: tuple[int, ...], image: tuple[int, ...], stride: int) -> bool:
    """Whether `convolution` is the faster form: the kernel is large beside the image."""
    b, h, w, c = image
    return b * h * w <= kernel[3] * stride**2 and c > 1


def convolution(image: Float[Array, "b h w c"], kernel: Float[Array, "y x c d"], stride: int, padding: Padding) -> Float[Array, "b i j d"]:
    """A convolution as one product of patches with the kernel as it lies."""
    (height, width, _, d), b = kernel.shape, image.shape[0]
    image = jnp.pad(image, ((0, 0), *padding, (0, 0)))
    rows, columns = ((side - length) // stride + 1 for side, length in zip(image.shape[1:3], (height, width), strict=True))
    patches = [
        image[:, y : y + (rows - 1) * stride + 1 : stride, x : x + (columns - 1) * stride + 1 : stride]
        for y in range(height)
        for x in range(width)
    ]
    product = _product(jnp.concatenate(patches, axis=-1).reshape(b * rows * columns, -1), kernel.reshape(-1, d))
    return product.reshape(b, rows, columns, d).astype(image.dtype)


def suits_folding(kernel: tuple[int, ...], stride: int) -> bool:
    """True if `folded_convolution` is the faster form: too few channels for YNNPACK."""
    return stride == 1 and max(kernel[2:]) < FEW_CHANNELS and convolves_without_copies()


def folded_convolution(image: Float[Array, "b h w c"], kernel: Float[Array, "y x c d"], padding: Padding) -> Float[Array, "b i j d"]:
    """A convolution that gives several columns at once, as channels: its kernel holds the given one once for each column, shifted.

    Channels are the last axis, so that columns as channels lie in memory where they lay.  Of each 2 + fold columns that a kernel
    3 wide then sees, 2 cost arithmetic for nothing; more channels at once pay for it.
    """
    (height, width, c, d), (b, h, w, _) = kernel.shape, image.shape
    fold = columns_as_channels(d, FEW_CHANNELS) * (1 if c > 4 else 2)
    rows, columns = (
        side + before + after - length + 1 for side, length, (before, after) in zip((h, w), (height, width), padding, strict=True)
    )
    beyond = -columns % fold
    if rows > h:  # then YNNPACK does not take it; XLA would pull plain padding back into the convolution
        image = lax.optimization_barrier(jnp.pad(image, ((0, 0), padding[0], (0, 0), (0, 0))))
        padding = ((0, 0), padding[1])
    shifted = [jnp.pad(kernel, ((0, 0), (part, fold - 1 - part), (0, 0), (0, 0))) for part in range(fold)]
    sides = (padding[0], (padding[1][0], padding[1][1] + beyond))
    folded = lax.conv_general_dilated(image, jnp.concatenate(shifted, axis=-1), (1, fold), sides, dimension_numbers=NHWC)
    return folded.reshape(b, rows, columns + beyond, d)[:, :, :columns]


def suits_image_gradient(kernel: tuple[int, ...], gradient: tuple[int, ...]) -> bool:
    """Whether `image_gradient` is the faster form: the kernel is large beside the image, so that turning it round costs most."""
    b, rows, columns, d = gradient
    return b * rows * columns <= 2 * d and kernel[2] > 1


def image_gradient(
    kernel: Float[Array, "y x c d"],
    gradient: Float[Array, "b i j d"],
    size: tuple[int, ...],
    stride: int,
    padding: tuple[tuple[int, int], ...],
) -> Float[Array, "b h w c"]:
    """The gradient of a convolution's image, of `size`: one matrix product with the kernel as it lies, then shifted sums."""
    (b, rows, columns, d), (height, width, c) = gradient.shape, kernel.shape[:3]
    product = lax.dot_general(
        gradient.reshape(-1, d), kernel.reshape(-1, d), (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32
    ).reshape(b, rows, columns, height, width, c)
    total = jnp.zeros((b, *size, c), jnp.float32)
    for y in range(height):
        for x in range(width):
            sides = [
                (before, side - (length - 1) * stride - 1 - before, stride - 1)
                for before, side, length in ((y - padding[0][0], size[0], rows), (x - padding[1][0], size[1], columns))
            ]
            total += lax.pad(product[:, :, :, y, x], jnp.zeros((), jnp.float32), ((0, 0, 0), *sides, (0, 0, 0)))
    return total.astype(gradient.dtype)


def depthwise_convolution(image: Float[Array, "b h w c"], kernel: Float[Array, "y x c"]) -> Float[Array, "b h w c"]:
    """Each channel's convolution with its own kernel, SAME, odd sizes: shifted products, which XLA fuses into one loop."""
    (_, h, w, _), (height, width, _) = image.shape, kernel.shape
    padded = jnp.pad(image, ((0, 0), (height // 2, height // 2), (width // 2, width // 2), (0, 0))).astype(jnp.float32)
    taps = kernel.astype(jnp.float32)[:, :, None, None, None]
    shifted = [padded[:, y : y + h, x : x + w] * taps[y, x] for y in range(height) for x in range(width)]
    return sum(shifted[1:], shifted[0]).astype(image.dtype)


def depthwise_kernel_gradient(
    image: Float[Array, "b h w c"], gradient: Float[Array, "b h w c"], size: tuple[int, ...]
) -> Float[Array, "y x c"]:
    """The gradient of `depthwise_convolution`'s kernel: sum over b, i, j of image[b, i + y, j + x, c] gradient[b, i, j, c].

    So it is itself a convolution, with the gradient as a very large kernel: blocks of at most TERMS of its pixels, in turn, are
    shifted products over the few places of the kernel, fused into one loop.
    """
    (b, h, w, c), (height, width), dtype = gradient.shape, size, image.dtype
    across = -(-w // TERMS)
    columns = -(-w // across)
    rows = min(h, TERMS // columns)
    down = -(-h // rows)
    beyond = (down * rows - h, across * columns - w)
    sides = [(side // 2, side // 2 + more) for side, more in zip(size, beyond, strict=True)]
    image = jnp.pad(image, ((0, 0), *sides, (0, 0))).astype(jnp.float32)
    gradient = jnp.pad(gradient, ((0, 0), (0, beyond[0]), (0, beyond[1]), (0, 0))).astype(jnp.float32)

    def add(total: Array, place: Array) -> tuple[Array, None]:
        corner = (0, place // across * rows, place % across * columns, 0)
        part = lax.dynamic_slice(image, corner, (b, rows + height - 1, columns + width - 1, c))
        taps = lax.dynamic_slice(gradient, corner, (b, rows, columns, c))
        products = [part[:, y : y + height, x : x + width] * taps[:, y : y + 1, x : x + 1] for y in range(rows) for x in range(columns)]
        return total + sum(products), None

    start = jnp.zeros((b, height, width, c), jnp.float32)
    total, _ = lax.scan(add, start, jnp.arange(down * across))
    return jnp.sum(total, axis=0).astype(dtype)


def _product(left: Float[Array, "m k"], right: Float[Array, "k n"]) -> Float[Array, "m n"]:
    return lax.dot_general(left, right, (((1,), (0,)), ((), ())), preferred_element_type=jnp.float32)
