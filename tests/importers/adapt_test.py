"""aeseg/importers/adapt.py: weights for other channels, patches and grids."""

import jax
import jax.numpy as jnp
import numpy as np

from aeseg.importers.adapt import adapted, resized_patches, with_channels

RANDOM = np.random.default_rng(0)
KERNEL = RANDOM.normal(size=(4, 4, 3, 5)).astype(np.float32)


def embedded(image, kernel):
    """Multiply each patch by the kernel."""
    size = kernel.shape[:2]
    return jax.lax.conv_general_dilated(image, kernel, size, "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def test_an_image_with_equal_channels_gives_the_same_features():
    grey = RANDOM.normal(size=(1, 8, 8, 1)).astype(np.float32)
    before = embedded(grey.repeat(3, axis=-1), KERNEL)
    for channels in (1, 3, 6):
        np.testing.assert_allclose(embedded(grey.repeat(channels, axis=-1), with_channels(KERNEL, channels)), before, atol=1e-4)
    np.testing.assert_array_equal(with_channels(KERNEL, 4)[..., 3, :], KERNEL[..., 0, :] * np.float32(0.75))


def test_an_enlarged_patch_has_the_same_embedding():
    image = RANDOM.normal(size=(1, 4, 4, 3)).astype(np.float32)  # one patch only: the patches of an image would mix with their neighbours
    before = embedded(image, KERNEL)
    for h, w in ((8, 8), (6, 10)):
        larger = jax.image.resize(jnp.asarray(image), (1, h, w, 3), "bilinear")
        np.testing.assert_allclose(embedded(larger, resized_patches(KERNEL, h, w)), before, atol=1e-4)


def test_a_smaller_patch_is_the_least_squares_solution():
    smaller = resized_patches(KERNEL, 2, 2)
    assert smaller.shape == (2, 2, 3, 5)
    resizing = np.stack([np.asarray(jax.image.resize(jnp.eye(16)[i].reshape(4, 4), (2, 2), "bilinear")).ravel() for i in range(16)])
    expected = np.linalg.lstsq(resizing, KERNEL.reshape(16, 15), rcond=None)[0]
    np.testing.assert_allclose(smaller.reshape(4, 15), expected, atol=1e-5)


def test_each_step_is_reported_and_tensors_that_cannot_fit_are_unchanged():
    table = np.concatenate([np.zeros((1, 5)), np.ones((16, 5))]).astype(np.float32)
    donor = {"params": {"encoder": {"patches": {"kernel": KERNEL, "bias": np.zeros(5)}, "position_table": table}}}
    model = jax.tree.map(jnp.zeros_like, donor)
    assert adapted(donor, model, {}) == (donor, [])
    leaves = {"patches": {"kernel": jnp.zeros((8, 8, 1, 5)), "bias": jnp.zeros(6)}, "position_table": jnp.zeros((13, 5))}
    found, lines = adapted(donor, {"params": {"encoder": leaves}}, {"encoder": ((4, 4), (2, 6))})
    assert lines == [
        "params/encoder/patches/kernel: patches of 4x4 pixels resized to 8x8 (pseudo-inverse, FlexiViT).",
        "params/encoder/patches/kernel: 3 channels to 1 (their sum).",
        "params/encoder/position_table: positions of a grid 4x4 resized to 2x6 (bicubic).",
    ]
    encoder = found["params"]["encoder"]
    assert encoder["patches"]["kernel"].shape == (8, 8, 1, 5)
    assert encoder["patches"]["bias"].shape == (5,)
    np.testing.assert_allclose(encoder["position_table"], [[0] * 5] + [[1] * 5] * 12, rtol=1e-6)
