"""Exact forms of gradients that XLA computes slowly on a CPU.  Only `layers` uses them; each equals its plain form.

XLA's own gradient of a convolution's kernel, and of max pooling (select-and-scatter), is what makes training on a CPU slow.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

PIXELS = 512
"""Pixels of one matrix product: as many as keep patches and gradients in the second-level cache."""

Padding = tuple[tuple[int, int], tuple[int, int]]


def kernel_gradient(
    image: Float[Array, "b h w c"], gradient: Float[Array, "b i j d"], size: tuple[int, int], stride: int, padding: Padding
) -> Float[Array, "y x c d"]:
    """The gradient of a convolution's kernel: the image's patches, as a matrix, times the gradient, a few rows at a time.

    kernel[y, x, c, d] gets sum over b, i, j of image[b, stride i + y, stride j + x, c] gradient[b, i, j, d].  Patches are made
    of whichever of the two has fewer channels: seen from the gradient's side the same sum is that of a flipped kernel.
    """
    if stride == 1 and image.shape[-1] > gradient.shape[-1]:
        other = tuple((length - 1 - before, length - 1 - after) for length, (before, after) in zip(size, padding, strict=True))
        if all(side >= 0 for sides in other for side in sides):
            return kernel_gradient(gradient, image, size, 1, other)[::-1, ::-1].transpose(0, 1, 3, 2)
    (b, rows, columns, d), c = gradient.shape, image.shape[-1]
    # A block of rows; the last block is filled up with rows of zeros, which add nothing.
    block = min(rows, max(1, _pixels(c, d) // (b * columns)))
    blocks = -(-rows // block)
    gradient = jnp.pad(gradient, ((0, 0), (0, blocks * block - rows), (0, 0), (0, 0)))
    span = (block - 1) * stride + size[0]
    missing = (blocks * block - 1) * stride + size[0] - image.shape[1] - padding[0][0]
    image = lax.pad(image, jnp.zeros((), image.dtype), ((0, 0, 0), (padding[0][0], missing, 0), (*padding[1], 0), (0, 0, 0)))

    def product(place):
        part = lax.dynamic_slice_in_dim(image, place * block * stride, span, axis=1)
        patches = [
            part[:, y : y + (block - 1) * stride + 1 : stride, x : x + (columns - 1) * stride + 1 : stride]
            for y in range(size[0])
            for x in range(size[1])
        ]
        left = lax.dynamic_slice_in_dim(gradient, place * block, block, axis=1).reshape(-1, d)
        right = jnp.concatenate(patches, axis=-1).reshape(-1, len(patches) * c)
        return lax.dot_general(left, right, (((0,), (0,)), ((), ())), preferred_element_type=jnp.float32)

    if blocks == 1:
        total = product(0)
    else:
        total, _ = lax.scan(lambda total, place: (total + product(place), None), jnp.zeros_like(product(0)), jnp.arange(blocks))
    return total.reshape(d, *size, c).transpose(1, 2, 3, 0).astype(image.dtype)


def _pixels(c: int, d: int) -> int:
    # The running sum is read and written for each block: a large one wants larger blocks.
    return PIXELS if c * d <= 2**17 else 4 * PIXELS
