"""Exact forms of a convolution's gradients, which XLA computes slowly on a CPU.  Only `layers` uses them."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

PIXELS = 512
"""Pixels of one matrix product: as many as keep patches and gradients in the second-level cache."""

Padding = tuple[tuple[int, int], tuple[int, int]]


def kernel_gradient(
    image: Float[Array, "b h w c"], gradient: Float[Array, "b i j d"], size: tuple[int, int], stride: int, padding: Padding
) -> Float[Array, "y x c d"]:
    """The gradient of a convolution's kernel: patches, as a matrix, times what lies under them, a few rows at a time.

    kernel[y, x, c, d] gets sum over b, i, j of image[b, stride i + y, stride j + x, c] gradient[b, i, j, d].  Patches are made
    of the image or, at stride 1, of the gradient where it has no more channels: seen from there, the same sum is that of a
    flipped kernel.  Both ways the products lie as the kernel does, d last: turning a large kernel round costs as much.
    """
    c, d = image.shape[-1], gradient.shape[-1]
    other = tuple((length - 1 - before, length - 1 - after) for length, (before, after) in zip(size, padding, strict=True))
    if stride == 1 and c >= d and all(side >= 0 for sides in other for side in sides):
        total = _patch_products(gradient, image, size, 1, other, patches_first=False)
        return total.reshape(c, *size, d).transpose(1, 2, 0, 3)[::-1, ::-1].astype(image.dtype)
    total = _patch_products(image, gradient, size, stride, padding, patches_first=True)
    return total.reshape(*size, c, d).astype(image.dtype)


def _patch_products(
    image: Array, under: Array, size: tuple[int, int], stride: int, padding: Padding, patches_first: bool
) -> Float[Array, "_ _"]:
    """Sum over b, i, j of (patch of `image` at i, j) x (`under` at i, j), or the other way round."""
    (b, rows, columns, d), c = under.shape, image.shape[-1]
    # A block of rows; the last block is filled up with rows of zeros, which add nothing.
    block = min(rows, max(1, _pixels(c, d) // (b * columns)))
    blocks = -(-rows // block)
    under = jnp.pad(under, ((0, 0), (0, blocks * block - rows), (0, 0), (0, 0)))
    span = (block - 1) * stride + size[0]
    missing = (blocks * block - 1) * stride + size[0] - image.shape[1] - padding[0][0]
    image = lax.pad(image, jnp.zeros((), image.dtype), ((0, 0, 0), (padding[0][0], missing, 0), (*padding[1], 0), (0, 0, 0)))

    def product(place: Array | int) -> Array:
        part = lax.dynamic_slice_in_dim(image, place * block * stride, span, axis=1)
        patches = [
            part[:, y : y + (block - 1) * stride + 1 : stride, x : x + (columns - 1) * stride + 1 : stride]
            for y in range(size[0])
            for x in range(size[1])
        ]
        pair = (
            jnp.concatenate(patches, axis=-1).reshape(-1, len(patches) * c),
            lax.dynamic_slice_in_dim(under, place * block, block, axis=1).reshape(-1, d),
        )
        left, right = pair if patches_first else pair[::-1]
        return lax.dot_general(left, right, (((0,), (0,)), ((), ())), preferred_element_type=jnp.float32)

    if blocks == 1:
        return product(0)
    start = jnp.zeros_like(product(0))
    return lax.scan(lambda total, place: (total + product(place), None), start, jnp.arange(blocks))[0]


def _pixels(c: int, d: int) -> int:
    # The running sum is read and written for each block: a large one wants larger blocks.
    return PIXELS if c * d <= 2**18 else 4 * PIXELS


def suits_image_gradient(kernel: tuple[int, ...], gradient: tuple[int, ...]) -> bool:
    """Whether `image_gradient` is the faster form: the kernel is large beside the image, so that turning it round costs most."""
    b, rows, columns, d = gradient
    return b * rows * columns <= d and kernel[2] > 1


def image_gradient(
    kernel: Float[Array, "y x c d"], gradient: Float[Array, "b i j d"], size: tuple[int, int], stride: int, padding: Padding
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
