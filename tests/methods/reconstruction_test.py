import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg import objectives
from aeseg.methods import reconstruction
from aeseg.methods.reconstruction import Reconstruction
from aeseg.spec import build
from aeseg.types import UserError
from tests import jitted
from tests.methods import cases

BATCH = cases.batch()


def method(**fields):
    return Reconstruction(cases.PlainEncoder(), cases.Decoder(), **fields)


@pytest.mark.parametrize("objective", ["squared_error", "ssim_l1"])
def test_microbatches_add_up_to_the_batch(objective):
    cases.assert_microbatches_change_nothing(method(objective=objective), BATCH)


@pytest.mark.parametrize("objective", objectives.IMAGE_OBJECTIVES)
def test_denominators_are_the_weights_of_the_means(objective):
    cases.assert_denominators_are_the_weights(method(objective=objective), BATCH)


def test_the_loss_is_the_error_of_all_images_except_padding():
    ours = method(output="linear")
    variables = cases.initial(ours, BATCH)
    mean = jitted.apply(ours, variables, BATCH, train=False)["squared_error"]
    shown = jitted.apply(ours, variables, BATCH, method=lambda module, batch: module._values(batch["image"], False))
    error = np.square(shown - BATCH["image"]).mean(axis=(1, 2, 3))
    assert mean.value() == pytest.approx(error[np.asarray(BATCH["valid"])].mean(), rel=1e-6)


def test_the_loss_supports_every_objective():
    assert method(objective="ssim_l1").coefficients == {"ssim_l1": 1.0}


def test_a_binary_cross_entropy_is_evaluated_beside_its_floor():
    variables = cases.initial(method(), BATCH)
    crossed = method(objective="binary_cross_entropy")
    means = jitted.apply(crossed, variables, BATCH, train=False)
    expected = objectives.binary_entropy(BATCH["image"], BATCH["valid"]).value()
    assert means["floor"].value() == pytest.approx(float(expected), rel=1e-6)
    assert means["floor"].value() < means["binary_cross_entropy"].value()
    assert "floor" not in jitted.apply(method(), variables, BATCH, train=False)
    assert crossed.coefficients == {"binary_cross_entropy": 1.0}


def test_pictures_are_the_image_and_its_reconstruction_in_0_to_1():
    ours = method(output="linear")
    shown = jitted.apply(ours, cases.initial(ours, BATCH), BATCH, method="show")
    assert list(shown) == ["image", "reconstruction"]
    assert shown["reconstruction"].shape == BATCH["image"].shape
    assert jnp.all((shown["reconstruction"] >= 0) & (shown["reconstruction"] <= 1))


def test_an_unknown_objective_is_refused_when_the_method_is_built():
    with pytest.raises(UserError, match="objective is one of"):
        method(objective="mse")


def test_the_recipe_builds_and_learns_one_batch():
    ours = build(reconstruction.recipe("tiny"))
    variables = cases.initial(ours, BATCH)
    losses = []
    params = variables["params"]
    step = jax.jit(lambda params: cases.loss_and_gradient(ours, {"params": params}, BATCH))
    for _ in range(5):
        loss, gradient = step(params)
        params = jax.tree.map(lambda value, slope: value - 0.5 * slope, params, gradient)
        losses.append(float(loss))
    assert losses[-1] < losses[0]
