"""Multi-scale structural similarity of images."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aeseg import images
from aeseg.models.pooling import even

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, fine to coarse (Wang et al. 2003, section 4)."""

SMALLEST = 11 * 2 ** (len(WEIGHTS) - 1)
"""Pixels of the smallest side: the window of 11 pixels must fit the coarsest scale."""


def ms_ssim(a: Float[Array, "b h w c"], b: Float[Array, "b h w c"]) -> Float[Array, "b"]:
    """Return the MS-SSIM of images in [0, 1] (Wang et al. 2003, equation 7), the mean over channels; NaN if a side is below SMALLEST.

    Scales are means of 2x2 pixels; an odd last row or column is repeated.  The window and constants are those of `images.ssim_map`.  A
    negative factor counts as 0.  Deviation from pytorch-msssim for odd sides: it pads them with zeros.
    """
    if min(a.shape[1:3]) < SMALLEST:
        return jnp.full(a.shape[0], jnp.nan)
    product = jnp.ones((a.shape[0], a.shape[3]))
    for scale, weight in enumerate(WEIGHTS):
        whole, contrast = _means(a, b)
        product *= jnp.maximum(contrast if scale + 1 < len(WEIGHTS) else whole, 0) ** weight
        a, b = (_halved(image) for image in (a, b))
    return jnp.mean(product, axis=1)


def decibels(similarity: float) -> float:
    """Return -10 log10(1 - MS-SSIM), in which differences near 1 are visible; at most 100."""
    return float(-10 * np.log10(max(1 - similarity, 1e-10)))


def _means(a: Float[Array, "b h w c"], b: Float[Array, "b h w c"]) -> tuple[Float[Array, "b c"], Float[Array, "b c"]]:
    """Return the mean over the image of (structural similarity, its factor of contrast and structure)."""
    kernel, c2 = images.gaussian_kernel(images.SSIM_WINDOW, images.SSIM_SIGMA), 0.03**2
    mean_a, mean_b = images.filtered(a, kernel), images.filtered(b, kernel)
    variances = images.filtered(a * a + b * b, kernel) - mean_a * mean_a - mean_b * mean_b
    covariance = images.filtered(a * b, kernel) - mean_a * mean_b
    contrast = (2 * covariance + c2) / (variances + c2)
    return tuple(jnp.mean(each, axis=(1, 2)) for each in (images.ssim_map(a, b), contrast))  # type: ignore[return-value]


def _halved(image: Float[Array, "b h w c"]) -> Float[Array, "b _ _ c"]:
    padded = even(image)
    b, h, w, c = padded.shape
    return jnp.mean(padded.reshape(b, h // 2, 2, w // 2, 2, c), axis=(2, 4))


compiled = jax.jit(ms_ssim)
