import jax.numpy as jnp
import numpy as np
import pytest
import pytorch_msssim
import torch

from aeseg.compression.similarity import compiled, decibels


def pair(h, w, c, noise):
    random = np.random.default_rng(0)
    smooth = np.kron(random.random((2, h // 8, w // 8, c)), np.ones((1, 8, 8, 1)))
    return [np.float32(each) for each in (smooth, np.clip(smooth + noise * random.normal(size=smooth.shape), 0, 1))]


@pytest.mark.parametrize(("c", "noise"), [(3, 0.1), (1, 0.4)])
def test_it_is_the_similarity_of_the_package_pytorch_msssim(c, noise):
    a, b = pair(176, 208, c, noise)
    one, other = (torch.tensor(each).permute(0, 3, 1, 2) for each in (a, b))
    expected = pytorch_msssim.ms_ssim(one, other, data_range=1.0, size_average=False)
    np.testing.assert_allclose(compiled(a, b), expected, rtol=1e-4)
    assert (np.asarray(expected) < 0.99).all()


def test_equal_images_have_1_and_small_images_none():
    a, _ = pair(176, 184, 1, 0)
    np.testing.assert_allclose(compiled(a, a), 1, atol=1e-6)
    small = jnp.zeros((2, 175, 300, 1))
    assert np.isnan(compiled(small, small)).all()


def test_decibels_of_0_9_are_10():
    assert decibels(0.9) == pytest.approx(10)
    assert decibels(1.0) == 100
