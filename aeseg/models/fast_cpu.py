"""Exact forms of convolutions and their gradients, where XLA is slow on a CPU.  Only `ops` uses them."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

TERMS = 64
"""Products that one fused loop of `depthwise_kernel_gradient` adds up: more make it no faster, but slow to compile."""

Padding = tuple[tuple[int, int], tuple[int, int]]


def kernel_gradient(
    image: Float[Array, "b h w c"],
    gradient: Float[Array, "b i j d"],
    size: tuple[int, ...],
    stride: int,
    padding: tuple[tuple[int, int], ...],
) -> Float[Array, "y x c d"]:
    """The gradient of a convolution's kernel: patches, as a matrix, times what lies under them, a few rows at a time.

    kernel[y, x, c, d] gets sum over b, i, j of image[b, stride i + y, stride j + x, c] gradient[b, i, j, d].  Patches are made
    of the image or, at stride 1, of the gradient where it has fewer channels: seen from there, the same sum is that of a
    flipped kernel.
    """
    c, d = image.shape[-1], gradient.shape[-1]
    other = tuple((length - 1 - before, length - 1 - after) for length, (before, after) in zip(size, padding, strict=True))
    if stride == 1 and c > d and all(side >= 0 for sides in other for side in sides):
        total = _patch_products(gradient, image, size, 1, other)
        return total.transpose(0, 1, 3, 2)[::-1, ::-1].astype(image.dtype)
    return _patch_products(image, gradient, size, stride, padding).astype(image.dtype)


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
