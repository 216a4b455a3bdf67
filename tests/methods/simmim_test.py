import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg import masking
from aeseg.methods import simmim
from aeseg.methods.simmim import SimMIM
from aeseg.models.decoders.linear import LinearDecoder
from aeseg.models.encoders.vit import ViT
from aeseg.spec import build
from aeseg.types import UserError
from tests import jitted
from tests.methods import cases

BATCH = {**cases.batch(), "image": jnp.asarray(np.random.default_rng(1).random((8, 16, 24, 3)), jnp.float32)}
SMALL = {"width": 8, "depth": 1, "heads": 2, "patch": 4, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3)}


def method(**fields):
    return SimMIM(
        **{"encoder": ViT(**SMALL, has_mask_token=True), "decoder": LinearDecoder(4), "sampler": masking.Random(0.6), "unit": 8, **fields}
    )


def initial(ours):
    return jax.jit(lambda: ours.init(jax.random.key(0), BATCH, train=False))()


def test_the_error_is_the_absolute_error_of_hidden_standardised_pixels():
    ours = method()
    variables = initial(ours)
    hidden = ours._hidden(BATCH, False)
    pixels = np.asarray(masking.spread(hidden, 8))
    assert pixels.sum() == 8 * 4 * 64  # round(0.6 * 6) units of each of 8 images
    values = np.asarray(jitted.apply(ours, variables, BATCH["image"], hidden, False, method="_values"))
    seen = (np.asarray(BATCH["image"]) - SMALL["mean"]) / np.asarray(SMALL["std"])
    weighs = pixels & np.asarray(BATCH["valid"])[:, None, None]
    means = jitted.apply(ours, variables, BATCH, train=False)
    assert means["absolute_error"].value() == pytest.approx(np.abs(values - seen)[weighs].mean(), rel=1e-5)
    assert means["absolute_error"].weight == ours.denominators(BATCH)["absolute_error"] == 6


def test_hidden_pixels_change_no_value_and_pictures_mark_them():
    ours = method()
    variables = initial(ours)
    hidden = ours._hidden(BATCH, False)
    pixels = np.asarray(masking.spread(hidden, 8))
    other = jnp.where(pixels[..., None], 0.9, BATCH["image"])
    values = jax.jit(lambda image: ours.apply(variables, image, hidden, False, method="_values"))
    first, second = values(BATCH["image"]), values(other)
    np.testing.assert_array_equal(first, second)
    shown = jitted.apply(ours, variables, BATCH, method="show")
    assert list(shown) == ["image", "visible", "reconstruction", "prediction"]
    np.testing.assert_array_equal(shown["visible"][pixels], masking.HIDDEN_COLOUR)
    np.testing.assert_array_equal(shown["reconstruction"][~pixels], BATCH["image"][~pixels])
    np.testing.assert_array_equal(shown["reconstruction"][pixels], shown["prediction"][pixels])


def test_training_hides_by_its_key():
    ours = method()
    variables = initial(ours)
    means = jax.jit(lambda key: ours.apply(variables, BATCH, train=True, rngs={"hidden": key}))
    totals = [float(means(jax.random.key(k))["absolute_error"].total) for k in (0, 0, 1)]
    assert totals[0] == totals[1] != totals[2]


def test_an_encoder_without_a_masked_mode_is_named_with_the_encoders_that_have_one():
    with pytest.raises(UserError, match=r"SimMIM needs .*PlainEncoder has none. Those of .* that have one: .*vit"):
        method(encoder=cases.PlainEncoder())
    with pytest.raises(UserError, match="units are 32 x 32 pixels; they do not tile the image of 16 x 24"):
        initial(method(unit=32))


def test_the_paper_hides_six_tenths_of_units_of_32_pixels():
    ours = build(simmim.recipe("b16"))
    assert (ours.unit, ours.sampler) == (32, masking.RandomUp(0.6))
    assert ours.sampler.count(7, 7) == 30, "of 49 units of 32 pixels, as in the authors' MaskGenerator"
    assert (ours.encoder.drop_path, ours.encoder.layer_scale, ours.encoder.initialiser) == (0.1, 0.1, "depth")
