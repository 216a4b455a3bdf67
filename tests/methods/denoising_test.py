import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg import keys, noises
from aeseg.methods import denoising
from aeseg.methods.denoising import Denoising
from aeseg.spec import build
from aeseg.types import UserError
from tests import jitted
from tests.methods import cases

BATCH = cases.batch()
NOISE = (noises.Gaussian(0.1), noises.SaltAndPepper(0.1), noises.Blur(0.8), noises.Squares(4, 0.3))
RESIDUAL = {"predicts": "noise", "output": "linear"}


def method(**fields):
    return Denoising(cases.PlainEncoder(), cases.Decoder(), **{"noise": NOISE, **fields})


def initial(ours):
    return cases.initial(ours, BATCH)


@pytest.mark.parametrize("fields", [{**RESIDUAL, "visible_weight": 0.2}, {"objective": "ssim_l1", "visible_weight": 0.5}])
def test_microbatches_add_up_to_the_batch_noise_included(fields):
    cases.assert_microbatches_change_nothing(method(**fields), BATCH)


@pytest.mark.parametrize("fields", [{}, {**RESIDUAL, "visible_weight": 0.2}])
def test_denominators_are_the_weights_of_the_means(fields):
    cases.assert_denominators_are_the_weights(method(**fields), BATCH)


def test_training_draws_noise_from_its_key_and_evaluation_is_reproducible():
    ours = method()
    variables = initial(ours)

    def error(train, key=0):
        means = ours.apply(variables, BATCH, train=train, rngs={"noise": jax.random.key(key)} if train else {})
        return float(means["squared_error"].total)

    assert error(True, 0) != error(True, 1)
    assert error(True, 0) == error(True, 0)
    assert error(False) == error(False)


def test_the_error_is_against_the_clean_image():
    ours = method()
    variables = initial(ours)
    shown = jitted.apply(ours, variables, BATCH, method="show")
    mean = jitted.apply(ours, variables, BATCH, train=False)["squared_error"]
    error = np.square(shown["reconstruction"] - BATCH["image"]).mean(axis=(1, 2, 3))
    assert mean.value() == pytest.approx(error[np.asarray(BATCH["valid"])].mean(), rel=1e-5)


def test_a_network_that_predicts_zero_noise_returns_the_noisy_image():
    ours = method(**RESIDUAL)
    variables = jax.tree.map(jnp.zeros_like, initial(ours))
    shown = jitted.apply(ours, variables, BATCH, method="show")
    np.testing.assert_array_equal(shown["reconstruction"], shown["noisy"])
    noisy = noises.corrupted(NOISE, keys.per_row(jax.random.key(0), BATCH["index"]), BATCH["image"])
    error = np.square(noisy - BATCH["image"]).mean(axis=(1, 2, 3))[np.asarray(BATCH["valid"])].mean()
    assert jitted.apply(ours, variables, BATCH, train=False)["squared_error"].value() == pytest.approx(error, rel=1e-5)


@pytest.mark.parametrize("noise", [noises.Downsampled(2), noises.Squares(4, 0.3, fill=-1.0)])
def test_a_restored_image_is_the_degraded_one_minus_the_predicted_noise(noise):
    ours = method(noise=(noise,), **RESIDUAL)
    variables = initial(ours)
    degraded = noises.corrupted((noise,), keys.per_row(jax.random.key(0), BATCH["index"]), BATCH["image"])
    predicted = ours.decoder.apply(
        {"params": variables["params"]["decoder"]},
        ours.encoder.apply({"params": variables["params"]["encoder"]}, degraded, train=False),
        train=False,
    )
    shown = jitted.apply(ours, variables, BATCH, method="show")
    np.testing.assert_allclose(shown["reconstruction"], jnp.clip(degraded - predicted, 0, 1), atol=1e-5)


def test_the_visible_weight_applies_to_the_pixels_without_noise():
    squares = (noises.Squares(4, 0.3),)
    plain, less = method(noise=squares), method(noise=squares, visible_weight=0.25)
    variables = initial(plain)
    shown = jitted.apply(plain, variables, BATCH, method="show")
    hidden = np.any(shown["noisy"] != shown["image"], axis=-1, keepdims=True)
    each = np.where(hidden, 1, 0.25) * np.square(shown["reconstruction"] - BATCH["image"])
    expected = each.mean(axis=(1, 2, 3))[np.asarray(BATCH["valid"])].sum()
    found = jitted.apply(less, variables, BATCH, train=False)["squared_error"]
    assert found.total == pytest.approx(expected, rel=1e-5)
    assert found.weight == jitted.apply(plain, variables, BATCH, train=False)["squared_error"].weight


def test_pictures_are_the_image_the_noisy_one_and_the_reconstruction_in_0_to_1():
    ours = method()
    shown = jitted.apply(ours, initial(ours), BATCH, method="show")
    assert list(shown) == ["image", "noisy", "reconstruction"]
    for picture in shown.values():
        assert picture.shape == BATCH["image"].shape
        assert jnp.all((picture >= 0) & (picture <= 1))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"predicts": "edges"}, "predicts is one of image, noise; got 'edges'"),
        ({"predicts": "noise"}, "predicts='noise' has values below 0 .* got output='sigmoid'"),
        ({**RESIDUAL, "objective": "ssim_l1"}, "got output='linear', objective='ssim_l1'"),
    ],
)
def test_conflicting_fields_are_named(fields, message):
    with pytest.raises(UserError, match=message):
        method(**fields)


def test_the_recipe_builds_with_its_noise():
    ours = build(denoising.recipe("tiny"))
    assert ours.noise == (noises.Squares(16, 0.6),)
    means = jax.jit(lambda variables: ours.apply(variables, BATCH, train=False))(initial(ours))
    assert np.isfinite(means["squared_error"].value())
