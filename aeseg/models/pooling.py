"""Max pooling and unpooling over 2x2 pixels, with a gradient that is fast on a CPU, where XLA's is slow (select-and-scatter)."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_vjp
def max_pool(image: Float[Array, "b h w c"]) -> Float[Array, "b h//2 w//2 c"]:
    """Max pooling over 2x2 pixels; an odd last row or column is dropped.  The first of equal maxima gets the gradient."""
    return _greatest(image)


def max_unpool(pooled: Float[Array, "b h w c"], image: Float[Array, "b y x c"]) -> Float[Array, "b y x c"]:
    """Unpool `pooled` to the size of `image`: each value goes to the position of the maximum of its 2x2 pixels of `image`; others are 0.

    These are SegNet's pooling indices (Badrinarayanan et al. 2017, section 3.1), recomputed from the pooling's input; the first of
    equals, as in torch's MaxUnpool2d.  An odd last row or column is pooled separately (see `even`).
    """
    padded = even(jax.lax.stop_gradient(image))
    return _placed(pooled, padded, _greatest(padded))[:, : image.shape[1], : image.shape[2]]


def even(image: Float[Array, "b h w c"]) -> Float[Array, "b _ _ c"]:
    """Repeat an odd last row or column, so that pooling covers all pixels (Caffe's rule; torch's ceil_mode)."""
    return jnp.pad(image, ((0, 0), (0, image.shape[1] % 2), (0, image.shape[2] % 2), (0, 0)), mode="edge")


def quarters(image: Array) -> list[Array]:
    """Return the four pixels of each 2x2 in reading order; an odd last row or column is dropped."""
    h, w = image.shape[1] // 2 * 2, image.shape[2] // 2 * 2
    return [image[:, y:h:2, x:w:2] for y in (0, 1) for x in (0, 1)]


def _greatest(image: Array) -> Array:
    return functools.reduce(jnp.maximum, quarters(image))


def _max_pool_forward(image: Array) -> tuple[Array, tuple[Array, Array]]:
    pooled = _greatest(image)
    return pooled, (image, pooled)


def _max_pool_backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array]:
    image, pooled = saved
    whole = _placed(gradient, image, pooled)
    return (jnp.pad(whole, ((0, 0), (0, image.shape[1] % 2), (0, image.shape[2] % 2), (0, 0))),)


def _placed(numbers: Array, image: Array, pooled: Array) -> Array:
    """Put each of the numbers [b h w c] at the position of `pooled` in its 2x2 pixels of the image; other positions are 0."""
    b, h, w, c = pooled.shape
    parts, taken = [], jnp.zeros(pooled.shape, bool)
    for quarter in quarters(image):
        greatest = (quarter == pooled) & ~taken
        taken |= greatest
        parts.append(jnp.where(greatest, numbers, 0))
    return jnp.stack([jnp.stack(parts[:2], axis=3), jnp.stack(parts[2:], axis=3)], axis=2).reshape(b, 2 * h, 2 * w, c)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)
