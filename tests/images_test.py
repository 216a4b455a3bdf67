import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from aeseg import images


def picture(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def test_bytes_become_numbers_from_0_to_1_and_floats_are_unchanged():
    np.testing.assert_allclose(images.as_float(jnp.array([0, 51, 255], jnp.uint8)), np.float32([0, 0.2, 1]), rtol=1e-6)
    np.testing.assert_array_equal(images.as_float(jnp.array([-1.0, 2.0], jnp.bfloat16)), np.float32([-1, 2]))


@pytest.mark.parametrize("size", [(7, 5), (14, 10), (28, 9), (3, 2), (1, 1), (8, 5)])
def test_resizing_equals_torch(size):
    image = picture(0, 2, 7, 5, 3)
    expected = torch.nn.functional.interpolate(torch.from_numpy(image).permute(0, 3, 1, 2), size, mode="bilinear", align_corners=False)
    np.testing.assert_allclose(images.resize(jnp.asarray(image), *size), expected.permute(0, 2, 3, 1), atol=1e-6)


def test_resizing_gives_float32_and_keeps_an_image_of_that_size_unchanged():
    image = jnp.asarray(picture(0, 1, 4, 6, 2), jnp.bfloat16)
    assert images.resize(image, 8, 12).dtype == jnp.float32
    np.testing.assert_array_equal(images.resize(image, 4, 6), image.astype(jnp.float32))


def test_the_kernel_sums_to_1_and_falls_off_as_a_gaussian():
    kernel = images.gaussian_kernel(5, 1.5)
    assert kernel.sum() == pytest.approx(1)
    np.testing.assert_allclose(kernel / kernel[2], np.exp(-0.5 * (np.array([-2, -1, 0, 1, 2]) / 1.5) ** 2), rtol=1e-6)


def test_filtering_along_one_line_is_a_convolution_where_the_kernel_fits():
    line = picture(1, 9)
    kernel = np.float32([0.2, 0.5, 0.3])
    rows = images.filtered(jnp.asarray(np.broadcast_to(line[None, :, None, None], (1, 9, 3, 1))), kernel)
    assert rows.shape == (1, 7, 1, 1)
    np.testing.assert_allclose(rows[0, :, 0, 0], np.convolve(line, kernel[::-1], "valid"), rtol=1e-6)


def test_blurring_equals_scipy():
    image = picture(2, 20, 13, 2)
    expected = gaussian_filter(image, (1.2, 1.2, 0), mode="nearest", radius=(4, 4, 0))
    np.testing.assert_allclose(images.blurred(jnp.asarray(image[None]), 1.2)[0], expected, atol=1e-6)


def test_blurring_keeps_a_flat_image():
    np.testing.assert_allclose(images.blurred(jnp.full((1, 4, 4, 3), 0.25), 5.0), 0.25, rtol=1e-6)


@pytest.mark.parametrize("size", [(11, 11), (16, 25)])
def test_structural_similarity_equals_scikit_image(size):
    a, b = picture(3, *size, 3), picture(4, *size, 3)
    b = 0.6 * a + 0.4 * b
    mean, full = structural_similarity(a, b, gaussian_weights=True, use_sample_covariance=False, data_range=1, channel_axis=-1, full=True)
    found = images.ssim_map(jnp.asarray(a[None]), jnp.asarray(b[None]))[0]
    np.testing.assert_allclose(found, full[5:-5, 5:-5], atol=2e-5)
    assert found.mean() == pytest.approx(mean, abs=2e-6)


def test_an_image_has_similarity_1_with_itself():
    image = jnp.asarray(picture(5, 2, 12, 12, 3))
    np.testing.assert_allclose(images.ssim_map(image, image), 1, atol=1e-5)


def test_similarity_of_flat_images_is_finite_in_value_and_gradient():
    flat = jnp.zeros((1, 12, 12, 1))
    value, gradient = jax.value_and_grad(lambda a: images.ssim_map(a, flat).mean())(flat)
    assert value == 1
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize(("size", "window"), [((11, 64), 11), ((10, 64), 9), ((8, 8), 7), ((2, 5), 1), ((1, 1), 1)])
def test_an_image_smaller_than_the_window_uses_the_largest_odd_window_that_fits(size, window):
    assert images.ssim_window(*size) == window
    found = images.ssim_map(jnp.asarray(picture(6, 1, *size, 1)), jnp.asarray(picture(7, 1, *size, 1)))
    assert found.shape == (1, size[0] - window + 1, size[1] - window + 1, 1)
    assert np.all(np.isfinite(found))


def test_local_contrast_is_the_difference_from_the_local_mean_divided_by_its_deviation():
    image = 0.5 + 0.1 * picture(0, 12, 15, 3)
    image[4:8] *= np.float32(1.8)

    def around(values):
        return gaussian_filter(values.mean(axis=-1), 2.0, mode="nearest", radius=6)[..., None]

    difference = image - around(image)
    deviation = np.sqrt(around(difference**2))
    expected = difference / np.maximum(deviation, deviation.mean())
    np.testing.assert_allclose(images.local_contrast(jnp.asarray(image[None]), 2.0)[0], expected, rtol=1e-3, atol=1e-3)
    again = images.local_contrast(jnp.asarray(3 * image[None] - 1), 2.0)[0]
    np.testing.assert_allclose(again, expected, rtol=1e-2, atol=1e-2, err_msg="brightness and contrast are gone")
    assert not np.any(images.local_contrast(jnp.full((1, 8, 8, 3), 0.5), 2.0))
