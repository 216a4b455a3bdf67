"""Exact, faster algorithms for convolutions and their gradients that XLA computes slowly on a CPU.  Only `ops` uses them."""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

TERMS = 64
"""Number of products that one fused loop of `depthwise_kernel_gradient` sums.  More are not faster, and slow to compile."""

IN_CACHE = 2**15
"""Number of gradient values in one block of `_convolved`: half of a second-level cache of 256 KiB."""

SMALL_KERNEL = 2**16
"""Largest product of input and output channels for `_convolved`, which adds a complete kernel for each block."""

FEW_CHANNELS = 17
"""Fewest input or output channels for which XLA passes a convolution to YNNPACK."""

NHWC = ("NHWC", "HWIO", "NHWC")

Padding = tuple[tuple[int, int], tuple[int, int]]


def kernel_gradient(
    image: Float[Array, "b h w c"],
    gradient: Float[Array, "b i j d"],
    size: tuple[int, ...],
    stride: int,
    padding: tuple[tuple[int, int], ...],
) -> Float[Array, "y x c d"]:
    """Return the gradient of a convolution's kernel.

    The gradient at [y, x, c, d] is the sum over b, i, j of image[b, stride i + y, stride j + x, c] gradient[b, i, j, d].  At stride 1,
    image and gradient swap roles if the gradient has fewer channels: the same sum gives the flipped kernel.
    """
    c, d = image.shape[-1], gradient.shape[-1]
    other = tuple((length - 1 - before, length - 1 - after) for length, (before, after) in zip(size, padding, strict=True))
    if stride == 1 and c > d and all(side >= 0 for sides in other for side in sides):
        return _sum(gradient, image, size, 1, other).transpose(0, 1, 3, 2)[::-1, ::-1].astype(image.dtype)
    return _sum(image, gradient, size, stride, padding).astype(image.dtype)


def _sum(
    image: Float[Array, "b h w c"], under: Float[Array, "b i j d"], size: tuple[int, ...], stride: int, padding: tuple[tuple[int, int], ...]
) -> Float[Array, "y x c d"]:
    """Return the sum over b, i, j of (patch of `image` at i, j) x (`under` at i, j), by the faster of two algorithms."""
    small = image.shape[-1] * under.shape[-1] <= SMALL_KERNEL
    form = _convolved if small and image.dtype == jnp.float32 and convolves_without_copies() else _patch_products
    return form(image, under, (size[0], size[1]), stride, (padding[0], padding[1]))


def _convolved(
    image: Float[Array, "b h w c"], under: Float[Array, "b i j d"], size: tuple[int, int], stride: int, padding: Padding
) -> Float[Array, "y x c d"]:
    """Compute the sum as a convolution with `under` as the kernel, one block of rows of one image at a time, without copying patches.

    Columns and channels of the image form one axis, on which the kernel's taps are stride x c apart: the value at index x c + k is the
    sum for column x and channel k.  If `under` has few channels, `fold` of its columns become channels, and their common sums are
    added afterwards.
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

    def add(total: Array, block_index: Array) -> tuple[Array, None]:
        part = lax.dynamic_slice(image, (block_index // blocks, block_index % blocks * block * stride, 0), (1, span, needed[1] * c))
        kernel = lax.dynamic_index_in_dim(under, block_index, keepdims=False)
        dilation = (stride, fold * stride * c)
        return total + lax.conv_general_dilated(
            part[..., None], kernel, (1, 1), "VALID", rhs_dilation=dilation, dimension_numbers=NHWC
        ), None

    total, _ = lax.scan(add, jnp.zeros((1, size[0], taps * c, fold * d), jnp.float32), jnp.arange(b * blocks))
    total = total.reshape(size[0], taps, c, fold, d)
    return sum(total[:, part * stride : part * stride + size[1], :, part] for part in range(fold))  # type: ignore[return-value]


def columns_as_channels(channels: int, enough: int) -> int:
    """Return the number of columns, a power of two, that together give `enough` channels."""
    return 1 << max(0, (enough - 1) // channels).bit_length()


@functools.cache
def convolves_without_copies() -> bool:
    """Return whether XLA passes float32 convolutions to YNNPACK, which reads patches in place; Eigen copies them.

    A small convolution is compiled once to find out.
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
    """Return the sum over b, i, j of (patch of `image` at i, j) x (`under` at i, j), by matrix products.

    Patches have channels first: a product with the left matrix in that layout is twice as fast as with a transposed matrix.
    """
    (b, rows, columns, d), c = under.shape, image.shape[-1]
    # A block of rows; the last block is padded with rows of zeros, which add nothing.
    block = min(rows, max(1, pixels(c) // (b * columns)))
    blocks = -(-rows // block)
    under = jnp.pad(under, ((0, 0), (0, blocks * block - rows), (0, 0), (0, 0)))
    span = (block - 1) * stride + size[0]
    missing = (blocks * block - 1) * stride + size[0] - image.shape[1] - padding[0][0]
    sides = ((0, 0, 0), (0, 0, 0), (padding[0][0], missing, 0), (*padding[1], 0))
    image = lax.pad(image.transpose(3, 0, 1, 2), jnp.zeros((), image.dtype), sides)

    def product(block_index: Array | int) -> Array:
        part = lax.dynamic_slice_in_dim(image, block_index * block * stride, span, axis=2)
        patches = jnp.stack(
            [
                part[:, :, y : y + (block - 1) * stride + 1 : stride, x : x + (columns - 1) * stride + 1 : stride]
                for y in range(size[0])
                for x in range(size[1])
            ]
        )
        below = lax.dynamic_slice_in_dim(under, block_index * block, block, axis=1).reshape(-1, d)
        return _product(patches.reshape(-1, below.shape[0]), below)

    if blocks == 1:
        total = product(0)
    else:
        start = jnp.zeros((size[0] * size[1] * c, d), jnp.float32)
        total = lax.scan(lambda total, block_index: (total + product(block_index), None), start, jnp.arange(blocks))[0]
    return total.reshape(*size, c, d)


def pixels(c: int) -> int:
    """Return the number of pixels per matrix product: as many as fit the second-level cache with their patches."""
    return max(512, 2**17 // c)


def suits_convolution(kernel: tuple[int, ...], image: tuple[int, ...], stride: int) -> bool:
    """Return whether `convolution` is faster: the kernel is large relative to the image."""
    b, h, w, c = image
    return b * h * w <= kernel[3] * stride**2 and c > 1


def convolution(image: Float[Array, "b h w c"], kernel: Float[Array, "y x c d"], stride: int, padding: Padding) -> Float[Array, "b i j d"]:
    """Compute a convolution as one product of patches with the kernel, without transposing the kernel."""
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
    """Return whether `folded_convolution` is faster: too few channels for YNNPACK."""
    return stride == 1 and max(kernel[2:]) < FEW_CHANNELS and convolves_without_copies()


@functools.partial(jax.jit, static_argnames="padding", inline=True)  # called outside jit, it is one program, not a dozen
def folded_convolution(image: Float[Array, "b h w c"], kernel: Float[Array, "y x c d"], padding: Padding) -> Float[Array, "b i j d"]:
    """Compute several columns of a convolution at once, as channels: the larger kernel holds one shifted copy of `kernel` per column.

    Channels are the last axis, so columns become channels without moving memory.  A kernel of width 3 then sees 2 + fold columns; the
    arithmetic for 2 of them is wasted, but more channels at once save more.
    """
    (height, width, c, d), (b, h, w, _) = kernel.shape, image.shape
    fold = columns_as_channels(d, FEW_CHANNELS) * (1 if c > 4 else 2)
    rows, columns = (
        side + before + after - length + 1 for side, length, (before, after) in zip((h, w), (height, width), padding, strict=True)
    )
    beyond = -columns % fold
    if rows > h:  # YNNPACK rejects this case, and XLA would move plain padding back into the convolution
        image = lax.optimization_barrier(jnp.pad(image, ((0, 0), padding[0], (0, 0), (0, 0))))
        padding = ((0, 0), padding[1])
    shifted = [jnp.pad(kernel, ((0, 0), (part, fold - 1 - part), (0, 0), (0, 0))) for part in range(fold)]
    sides = (padding[0], (padding[1][0], padding[1][1] + beyond))
    folded = lax.conv_general_dilated(image, jnp.concatenate(shifted, axis=-1), (1, fold), sides, dimension_numbers=NHWC)
    return folded.reshape(b, rows, columns + beyond, d)[:, :, :columns]


def suits_image_gradient(kernel: tuple[int, ...], gradient: tuple[int, ...]) -> bool:
    """Return whether `image_gradient` is faster: the kernel is large relative to the image, so transposing it costs most."""
    b, rows, columns, d = gradient
    return b * rows * columns <= 2 * d and kernel[2] > 1


def image_gradient(
    kernel: Float[Array, "y x c d"],
    gradient: Float[Array, "b i j d"],
    size: tuple[int, ...],
    stride: int,
    padding: tuple[tuple[int, int], ...],
) -> Float[Array, "b h w c"]:
    """Return the gradient of a convolution's image, of `size`: one matrix product without transposing the kernel, then shifted sums."""
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
    """Convolve each channel with its own kernel of odd size (SAME), as shifted products, which XLA fuses into one loop.

    A scan over images, or over the halves of a single image, keeps this loop apart: XLA does not fuse the products if what follows, such
    as a layer norm, reads their sum more than once, and stores each of them instead.
    """
    (b, h, w, c), (height, width, _) = image.shape, kernel.shape
    bands = 1 if b > 1 else 2
    rows = -(-h // bands)
    sides = ((0, 0), (height // 2, height // 2 + bands * rows - h), (width // 2, width // 2), (0, 0))
    padded, taps = jnp.pad(image, sides).astype(jnp.float32), kernel.astype(jnp.float32)

    def convolved(index: Array) -> Array:
        part = lax.dynamic_slice(padded, (index // bands, index % bands * rows, 0, 0), (1, rows + height - 1, padded.shape[2], c))[0]
        shifted = [part[y : y + rows, x : x + w] * taps[y, x][None, None] for y in range(height) for x in range(width)]
        return sum(shifted[1:], shifted[0]).astype(image.dtype)

    return lax.map(convolved, jnp.arange(b * bands)).reshape(b, bands * rows, w, c)[:, :h]


def depthwise_kernel_gradient(
    image: Float[Array, "b h w c"], gradient: Float[Array, "b h w c"], size: tuple[int, ...]
) -> Float[Array, "y x c"]:
    """Return the gradient of `depthwise_convolution`'s kernel: the sum over b, i, j of image[b, i + y, j + x, c] gradient[b, i, j, c].

    This sum is a convolution with the gradient as a very large kernel.  Blocks of at most TERMS of its pixels become shifted products
    over the few taps of the result, fused into one loop.
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

    def add(total: Array, block_index: Array) -> tuple[Array, None]:
        corner = (0, block_index // across * rows, block_index % across * columns, 0)
        part = lax.dynamic_slice(image, corner, (b, rows + height - 1, columns + width - 1, c))
        taps = lax.dynamic_slice(gradient, corner, (b, rows, columns, c))
        products = [part[:, y : y + height, x : x + width] * taps[:, y : y + 1, x : x + 1] for y in range(rows) for x in range(columns)]
        return total + sum(products), None

    start = jnp.zeros((b, height, width, c), jnp.float32)
    total, _ = lax.scan(add, start, jnp.arange(down * across))
    return jnp.sum(total, axis=0).astype(dtype)


def _product(left: Float[Array, "m k"], right: Float[Array, "k n"]) -> Float[Array, "m n"]:
    return lax.dot_general(left, right, (((1,), (0,)), ((), ())), preferred_element_type=jnp.float32)
