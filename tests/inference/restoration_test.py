"""Degraded and restored images, by networks whose answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from aeseg import noises
from aeseg.inference import restoration
from aeseg.inference.restoration import Degraded
from aeseg.types import UserError

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(40, 216, (24, 40, 3)).astype(np.uint8)
WINDOWS = {"window": (16, 16), "batch": 2, "weights": "gaussian"}
DENOISE = (noises.Gaussian(25 / 255), noises.Rounded())
HOLES = (noises.Squares(4, 0.3, fill=-1.0),)
LARGER = (noises.Downsampled(2),)


def identity(batch):
    return np.float32(batch) if batch.dtype.kind == "f" else np.float32(batch) / np.iinfo(batch.dtype).max


def test_noise_of_sigma_25_has_the_psnr_of_its_definition():
    grey = np.full((200, 200, 3), 128, np.uint8)
    one = restoration.degraded(grey, DENOISE, 0, 0)
    assert one.image.dtype == np.uint8
    assert peak_signal_noise_ratio(grey, one.image) == pytest.approx(20 * np.log10(255 / 25), abs=0.05)


def test_the_degradation_depends_on_seed_and_index_only():
    first, again, other = (restoration.degraded(IMAGE, DENOISE, 3, index).image for index in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, restoration.degraded(IMAGE, DENOISE, 4, 5).image)


def test_what_a_network_reads_at_test_time_is_what_it_reads_in_training():
    for noise in (LARGER, HOLES):
        one = restoration.degraded(IMAGE, noise, 0, 0)
        seen = restoration.inputs(one, noise)
        key = jax.random.fold_in(jax.random.key(0), 0)
        if noise == LARGER:
            assert one.image.shape == (12, 20, 3)
            np.testing.assert_allclose(seen, noise[0](key, jnp.float32(IMAGE) / 255), atol=1e-5)
        else:
            np.testing.assert_allclose(seen, noise[0](key, jnp.float32(IMAGE) / 255), atol=1e-6)
            assert 0 < one.hidden.mean() < 0.6
            np.testing.assert_array_equal(seen[one.hidden], -1)
            np.testing.assert_array_equal(one.image[one.hidden], 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_identity_restores_the_image_itself_in_windows_and_keeps_its_bits(dtype):
    image = RNG.integers(0, np.iinfo(dtype).max, (37, 50, 3)).astype(dtype)
    fractions = []
    result = restoration.restored(identity, Degraded(image), DENOISE, at=fractions.append, **WINDOWS)
    assert result.dtype == dtype
    assert np.abs(result.astype(int) - image).max() <= (0 if dtype == np.uint8 else 1)  # sums of weights in float32
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_only_the_holes_change():
    hidden = np.zeros((24, 40), bool)
    hidden[3:9, 10:14] = True
    result = restoration.restored(lambda batch: np.full(batch.shape, 0.2, np.float32), Degraded(IMAGE, hidden), HOLES, **WINDOWS)
    np.testing.assert_array_equal(result[~hidden], IMAGE[~hidden])
    np.testing.assert_array_equal(result[hidden], 51)
    with pytest.raises(UserError, match=r"Expected the pixels to fill in; got an image alone\. Set --masks"):
        restoration.inputs(Degraded(IMAGE), HOLES)


def test_an_image_is_cut_so_that_it_shrinks_evenly_and_comes_back_twice_as_large():
    assert restoration.fitting(IMAGE[:23, :39], LARGER).shape == (22, 38, 3)
    assert restoration.fitting(IMAGE[:23, :39], DENOISE).shape == (23, 39, 3)
    result = restoration.restored(identity, Degraded(IMAGE), LARGER, **WINDOWS)
    assert result.shape == (48, 80, 3)
    assert restoration.difference(result[::2, ::2], result[::2, ::2]).max() == 0


def test_a_network_that_gives_nan_is_refused_with_the_name():
    with pytest.raises(UserError, match=r"Expected numbers for every pixel of a\.png"):
        restoration.restored(lambda batch: np.full(batch.shape, np.nan, np.float32), Degraded(IMAGE), DENOISE, "a.png", **WINDOWS)
