import jax.numpy as jnp
import numpy as np
import pytest

from aeseg import images
from aeseg.data.colours import GaussianBlur, LocalContrast, PhotometricJitter
from aeseg.types import UserError


def record(channels=3):
    rng = np.random.default_rng(0)
    return {"image": rng.integers(30, 220, (12, 16, channels), dtype=np.uint8), "label": np.ones((12, 16), np.uint8), "name": "a"}


def jittered(seed=0, channels=3, **only):
    strengths = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, **only}
    return PhotometricJitter(**strengths)(record(channels), np.random.default_rng(seed))["image"].astype(float)


def test_no_strength_changes_nothing():
    np.testing.assert_array_equal(jittered(), record()["image"])


def test_brightness_is_one_factor():
    ratio = jittered(brightness=0.15) / record()["image"]
    assert np.ptp(ratio) < 0.04
    assert abs(ratio.mean() - 1) > 0.01


def test_contrast_keeps_the_mean_and_saturation_the_grey():
    assert jittered(contrast=0.15).mean() == pytest.approx(record()["image"].mean(), abs=0.5)
    grey = np.array([0.299, 0.587, 0.114])
    assert np.abs(jittered(saturation=0.2, seed=1) @ grey - record()["image"] @ grey).mean() < 1.0


def test_hue_turns_colours_and_keeps_their_brightest_channel():
    after = jittered(hue=0.5, seed=2)
    np.testing.assert_allclose(after.max(axis=-1), record()["image"].max(axis=-1))
    assert np.abs(after - record()["image"]).mean() > 10


def test_label_and_input_are_unchanged():
    before = record()
    before["image"].setflags(write=False)
    for transform in (PhotometricJitter(), GaussianBlur(1.0), LocalContrast()):
        after = transform(before, np.random.default_rng(1))
        assert after["label"] is before["label"]
        assert (after["image"] != before["image"]).any()
        assert (after["image"].dtype, after["image"].shape) == (np.uint8, (12, 16, 3))
    np.testing.assert_array_equal(before["image"], record()["image"])


def test_one_channel_is_supported():
    assert jittered(channels=1, brightness=0.2, saturation=0.5, hue=0.5).shape == (12, 16, 1)
    assert GaussianBlur(1.0)(record(1), np.random.default_rng(0))["image"].shape == (12, 16, 1)


def test_blur_smooths_with_its_probability():
    assert GaussianBlur(0.0)(record(), np.random.default_rng(0))["image"] is not None
    assert GaussianBlur(1.0, 2.0, 2.0)(record(), np.random.default_rng(0))["image"].std() < record()["image"].std() / 3


@pytest.mark.parametrize(("channels", "sigma", "largest"), [(3, 3.0, 4.0), (1, 1.0, 2.0)])
def test_local_contrast_equals_the_normalisation_of_an_encoder(channels, sigma, largest):
    smooth = GaussianBlur(1.0, 1.0, 1.0)(record(channels), np.random.default_rng(0))
    after = LocalContrast(sigma, largest)(smooth, np.random.default_rng(0))["image"]
    contrast = images.local_contrast(images.as_float(jnp.asarray(smooth["image"][None])), sigma)[0]
    seen = (after / 255 - 0.5) / (0.5 / largest)
    np.testing.assert_allclose(seen, np.clip(contrast, -largest, largest), atol=1.01 * largest / 255)
    assert len(np.unique(after)) > 50


def test_local_contrast_of_a_flat_image_is_grey():
    flat = {"image": np.full((8, 9, 3), 40, np.uint8)}
    assert set(np.unique(LocalContrast()(flat, np.random.default_rng(0))["image"])) <= {127, 128}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PhotometricJitter(contrast=1.5), "0 <= contrast <= 1; got 1.5"),
        (lambda: PhotometricJitter(hue=0.6), "0 <= hue <= 0.5 .*; got 0.6"),
        (lambda: GaussianBlur(2.0), "GaussianBlur needs 0 <= probability <= 1; got 2.0"),
        (lambda: GaussianBlur(1.0, 0.0, 1.0), "0 < smallest <= largest; got 0.0 and 1.0"),
        (lambda: LocalContrast(sigma=0.0), "a sigma and a largest contrast above 0; got 0.0 and 4.0"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(UserError, match=message):
        make()
