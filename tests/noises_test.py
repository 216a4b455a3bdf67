import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from aeseg import images, keys, noises
from aeseg.spec import build, from_json, spec, to_json
from aeseg.types import UserError

KEY = jax.random.key(0)
IMAGE = jnp.asarray(np.random.default_rng(0).uniform(0.2, 0.8, (64, 48, 3)), jnp.float32)
NOISES = (
    noises.Gaussian(0.2),
    noises.SaltAndPepper(0.3),
    noises.Blur(1.5),
    noises.Squares(8, 0.5),
    noises.Downsampled(2),
    noises.Rounded(6),
)


@pytest.mark.parametrize("noise", NOISES)
def test_a_noise_keeps_the_shape_and_is_a_function_of_its_key(noise):
    first, again = noise(KEY, IMAGE), noise(KEY, IMAGE)
    assert (first.shape, first.dtype) == (IMAGE.shape, jnp.float32)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, IMAGE)


@pytest.mark.parametrize("noise", NOISES)
def test_a_noise_survives_json(noise):
    assert build(from_json(to_json(spec(type(noise), **vars(noise))))) == noise


def test_gaussian_noise_has_its_sigma_and_no_drift():
    added = noises.Gaussian(0.2)(KEY, IMAGE) - IMAGE
    assert added.std() == pytest.approx(0.2, rel=0.03)
    assert added.mean() == pytest.approx(0, abs=0.01)


def test_salt_and_pepper_turns_its_fraction_of_pixels_black_or_white_evenly():
    noisy = noises.SaltAndPepper(0.3)(KEY, IMAGE)
    black, white = np.all(noisy == 0, axis=-1), np.all(noisy == 1, axis=-1)
    assert black.mean() == pytest.approx(0.15, abs=0.03)
    assert white.mean() == pytest.approx(0.15, abs=0.03)
    np.testing.assert_array_equal(noisy[~(black | white)], IMAGE[~(black | white)])


def test_blur_equals_the_gaussian_blur_of_images():
    np.testing.assert_array_equal(noises.Blur(1.5)(KEY, IMAGE), images.blurred(IMAGE[None], 1.5)[0])


@pytest.mark.parametrize(("size", "share"), [(1, 0.25), (8, 0.25), (8, 0.75), (16, 0.5)])
def test_squares_hide_their_fraction_on_average_and_every_pixel_equally_often(size, share):
    noise = noises.Squares(size, share)
    hidden = jax.vmap(lambda key: noise.hidden(key, 24, 16))(keys.per_row(KEY, jnp.arange(600)))
    hit = size**2 / ((24 + size - 1) * (16 + size - 1))
    expected = 1 - (1 - hit) ** noise.number(24, 16)  # the fraction, up to a whole number of squares
    assert expected == pytest.approx(share, abs=0.06)
    assert hidden.mean() == pytest.approx(expected, abs=0.03)
    often = np.asarray(hidden.mean(axis=0))
    assert often[:3].mean() == pytest.approx(often[10:13].mean(), abs=0.06)


def test_squares_have_their_size_and_value():
    noise = noises.Squares(size=4, share=0.02, fill=0.0)
    assert noise.number(32, 32) == 2
    noisy = noise(jax.random.key(3), jnp.ones((32, 32, 1)))
    hidden = np.asarray(noise.hidden(jax.random.key(3), 32, 32))
    np.testing.assert_array_equal(noisy[..., 0], np.where(hidden, 0, 1))
    assert 0 < hidden.sum() <= 2 * 4 * 4


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_shrinking_and_enlarging_are_bicubic_as_in_pillow(factor):
    image = IMAGE[: 64 - 64 % factor, : 48 - 48 % factor]
    h, w = image.shape[0] // factor, image.shape[1] // factor

    def by_pillow(pixels, size):
        return np.stack([Image.fromarray(np.asarray(pixels[..., c])).resize(size, Image.Resampling.BICUBIC) for c in range(3)], axis=-1)

    noise = noises.Downsampled(factor)
    small = noise.small(image)
    np.testing.assert_allclose(small, by_pillow(image, (w, h)), atol=1e-5)
    file = np.float32(np.rint(np.clip(small, 0, 1) * 255) / 255)
    np.testing.assert_allclose(noise(KEY, image), by_pillow(file, image.shape[1::-1]), atol=1e-5)


def test_sides_that_the_factor_does_not_divide_are_refused():
    with pytest.raises(UserError, match=r"an image whose sides 5 divides; got 64 x 48\. Crop it, or change --config.window"):
        noises.Downsampled(5)(KEY, IMAGE)


def test_rounded_values_are_those_of_a_file():
    rounded = noises.Rounded(8)(KEY, IMAGE * 3 - 1)
    np.testing.assert_allclose(rounded, np.rint(np.clip(np.asarray(IMAGE) * 3 - 1, 0, 1) * 255) / 255, atol=1e-6)
    assert (rounded.min(), rounded.max()) == (0, 1)


def test_a_network_is_named_by_the_noise_that_hides_most():
    gaussian, rounded = noises.Gaussian(), noises.Rounded()
    tasks = {(gaussian, rounded): "denoise", (noises.Blur(), gaussian): "deblur", (noises.Squares(), gaussian): "inpaint", (rounded,): ""}
    assert {noise: noises.task(noise) for noise in tasks} == tasks
    assert noises.task((noises.Downsampled(), gaussian)) == "superresolve"
    assert noises.task(()) == ""


def test_noises_are_applied_in_their_order_each_with_its_own_key():
    key = keys.per_row(KEY, jnp.arange(1))
    both = noises.corrupted((noises.Gaussian(0.1), noises.Gaussian(0.1)), key, IMAGE[None])
    added = both[0] - IMAGE
    assert added.std() == pytest.approx(0.1 * 2**0.5, rel=0.03)
    blurred_last = noises.corrupted((noises.SaltAndPepper(0.3), noises.Blur(1.0)), key, IMAGE[None])
    assert not np.any(blurred_last == 1)


def test_a_row_gets_the_same_noise_in_any_batch():
    batch = jnp.stack([IMAGE, IMAGE, IMAGE])
    whole = noises.corrupted(NOISES, keys.per_row(KEY, jnp.array([4, 7, 9])), batch)
    alone = noises.corrupted(NOISES, keys.per_row(KEY, jnp.array([9])), batch[2:])
    np.testing.assert_allclose(whole[2:], alone, atol=1e-6)
    assert not np.allclose(whole[0], whole[1])


def test_without_noise_the_image_is_unchanged():
    np.testing.assert_array_equal(noises.corrupted((), keys.per_row(KEY, jnp.arange(1)), IMAGE[None]), IMAGE[None])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: noises.Gaussian(-1.0), "Gaussian takes a sigma of 0 or more; got -1.0. Change sigma"),
        (lambda: noises.SaltAndPepper(1.5), "SaltAndPepper takes a share of 0 to 1; got 1.5"),
        (lambda: noises.Blur(0.0), "Blur takes a sigma of more than 0; got 0.0"),
        (lambda: noises.Squares(0), "Squares takes a size of 1 or more; got 0"),
        (lambda: noises.Downsampled(1), "Downsampled takes a factor of 2 or more; got 1"),
        (lambda: noises.Rounded(17), "Rounded takes a bits of 1 to 16; got 17"),
        (lambda: noises.Squares(8, 1.0), "Squares takes a share of 0 or more and less than 1; got 1.0"),
    ],
)
def test_a_number_out_of_range_is_named(make, message):
    with pytest.raises(UserError, match=message):
        make()
