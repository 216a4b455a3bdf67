"""Operations on NHWC images on the device: conversion, resizing, blurring, structural similarity and patches."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5


def as_float(image: Num[Array, "..."]) -> Float[Array, "..."]:
    """Convert uint8 in 0..255, or uint16 in 0..65535, to float32 in [0, 1]. A float image is only cast to float32."""
    if image.dtype in (jnp.uint8, jnp.uint16):
        return image.astype(jnp.float32) / jnp.iinfo(image.dtype).max
    return image.astype(jnp.float32)


def resize(image: Float[Array, "b _ _ c"], h: int, w: int) -> Float[Array, "b {h} {w} c"]:
    """Resize bilinearly: half-pixel centres, no antialiasing, as `torch.nn.functional.interpolate(align_corners=False)`.

    The result is float32 for any input, because logits are resized right before the softmax.
    """
    image = image.astype(jnp.float32)
    if image.shape[1:3] == (h, w):
        return image
    return jax.image.resize(image, (image.shape[0], h, w, image.shape[3]), "bilinear", antialias=False)


def gaussian_kernel(size: int, sigma: float) -> Float[np.ndarray, "{size}"]:
    """Sample a Gaussian at `size` (odd) points around its centre; the sum is 1."""
    distance = np.arange(size) - (size - 1) / 2
    kernel = np.exp(-0.5 * np.square(distance / sigma))
    return (kernel / kernel.sum()).astype(np.float32)


def filtered(image: Float[Array, "b h w c"], kernel: Float[np.ndarray, "taps"]) -> Float[Array, "b _ _ c"]:
    """Filter the image along h, then along w, without padding: each axis loses taps - 1 pixels.

    Each pass is one product with a banded matrix. On a CPU that is 5 to 30 times faster, gradient included, than a depthwise
    convolution or a sum of shifted products; accelerators are built for matrix products.
    """
    down, across = _band(image.shape[1], kernel), _band(image.shape[2], kernel)
    # At the default precision of accelerators (bfloat16, TF32) the variances in ssim_map, which are differences, would lose all digits.
    image = jnp.einsum("vh,bhwc->bvwc", down, image, precision=jax.lax.Precision.HIGHEST)
    return jnp.einsum("uw,bvwc->bvuc", across, image, precision=jax.lax.Precision.HIGHEST)


def blurred(image: Float[Array, "b h w c"], sigma: float) -> Float[Array, "b h w c"]:
    """Blur with a Gaussian truncated at 3 sigma. The size is kept; edge pixels are repeated beyond the image."""
    radius = max(1, int(np.ceil(3 * sigma)))
    padded = jnp.pad(image, ((0, 0), (radius, radius), (radius, radius), (0, 0)), mode="edge")
    return filtered(padded, gaussian_kernel(2 * radius + 1, sigma))


def local_contrast(image: Float[Array, "b h w c"], sigma: float) -> Float[Array, "b h w c"]:
    """Local contrast normalisation (Jarrett et al. 2009, the layer of that name).

    v = image - blurred image, y = v / max(s, mean of s), where s is the square root of blurred v^2. The Gaussian window (`sigma`
    pixels, truncated at 3 sigma) covers all channels; the mean is over each image. A flat image gives 0. `VGG` has a field for
    it; for other encoders use the data transform `colours.LocalContrast`.
    """

    def around(values: Array) -> Array:
        return blurred(jnp.mean(values, axis=-1, keepdims=True), sigma)

    difference = image - around(image)
    deviation = jnp.sqrt(around(jnp.square(difference)) + 1e-8)
    return difference / jnp.maximum(deviation, jnp.mean(deviation, axis=(1, 2, 3), keepdims=True))


def ssim_window(h: int, w: int) -> int:
    """Return the width of the window of `ssim_map`: 11, or the largest odd number that fits a smaller image."""
    smallest = min(SSIM_WINDOW, h, w)
    return smallest if smallest % 2 else smallest - 1


def ssim_map(a: Float[Array, "b h w c"], b: Float[Array, "b h w c"]) -> Float[Array, "b _ _ c"]:
    """Structural similarity of two images in [0, 1] at each position of the window (Wang et al. 2004, equation 13).

    Gaussian window of 11 pixels with sigma 1.5, K1 = 0.01, K2 = 0.03, without padding. The mean of the map equals
    scikit-image's `structural_similarity(gaussian_weights=True, use_sample_covariance=False, data_range=1)`.
    Deviation: an image with fewer than 11 pixels on a side uses the largest odd window that fits (scikit-image raises).
    """
    kernel = gaussian_kernel(ssim_window(a.shape[1], a.shape[2]), SSIM_SIGMA)
    a, b = a.astype(jnp.float32), b.astype(jnp.float32)
    c1, c2 = 0.01**2, 0.03**2
    mean_a, mean_b = filtered(a, kernel), filtered(b, kernel)
    variance_a = filtered(a * a, kernel) - mean_a * mean_a
    variance_b = filtered(b * b, kernel) - mean_b * mean_b
    covariance = filtered(a * b, kernel) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a * mean_a + mean_b * mean_b + c1)
    return luminance * (2 * covariance + c2) / (variance_a + variance_b + c2)


def patches(image: Float[Array, "b h w c"], size: int) -> Float[Array, "b h//{size} w//{size} _"]:
    """Cut the image into size x size patches, each flattened in row-major order, channels last (MAE's `patchify`).

    >>> patches(jnp.zeros((1, 32, 48, 3)), 16).shape
    (1, 2, 3, 768)
    """
    b, h, w, c = image.shape
    squares = image.reshape(b, h // size, size, w // size, size, c).transpose(0, 1, 3, 2, 4, 5)
    return squares.reshape(b, h // size, w // size, size * size * c)


def from_patches(values: Float[Array, "b h w p"], size: int) -> Float[Array, "b h*{size} w*{size} _"]:
    """Join patches into an image: the inverse of `patches`."""
    b, h, w, p = values.shape
    squares = values.reshape(b, h, w, size, size, p // size**2).transpose(0, 1, 3, 2, 4, 5)
    return squares.reshape(b, h * size, w * size, p // size**2)


def patch_statistics(values: Float[Array, "b h w p"]) -> tuple[Float[Array, "b h w 1"], Float[Array, "b h w 1"]]:
    """Return the mean of each patch and sqrt(variance + 1e-6), with the variance over p - 1 (He et al. 2022, section 3 and code)."""
    mean = jnp.mean(values, axis=-1, keepdims=True)
    variance = jnp.sum(jnp.square(values - mean), axis=-1, keepdims=True) / (values.shape[-1] - 1)
    return mean, jnp.sqrt(variance + 1e-6)


def _band(n: int, kernel: Float[np.ndarray, "taps"]) -> Float[np.ndarray, "_ {n}"]:
    """Return the matrix that filters a line of n pixels without padding."""
    outputs = n - kernel.size + 1
    band = np.zeros((outputs, n), np.float32)
    for start in range(outputs):
        band[start, start : start + kernel.size] = kernel
    return band
