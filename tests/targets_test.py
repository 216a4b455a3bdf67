"""aeseg/targets.py, and the three methods that standardise their targets by it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from aeseg import images, masking, objectives, targets
from aeseg.methods import fcmae, masked, simmim
from aeseg.spec import build
from aeseg.types import UserError
from experiments.console import cli
from tests import jitted

RANDOM = np.random.default_rng(0)
COLOUR, CONTRAST = np.array([0.7, 0.4, 0.2]), np.array([0.18, 0.12, 0.07])
FUNDUS = np.clip(COLOUR + CONTRAST * RANDOM.normal(size=(2, 16, 16, 1)) * 0.3 + 0.002 * RANDOM.normal(size=(2, 16, 16, 3)), 0, 1)
"""Two images of one colour, with structure of a few grey levels, equal in all channels."""
RECIPES = {"fcmae": fcmae, "masked": masked, "simmim": simmim}


def structure(mean, std):
    """Return the fraction of the variance of normalised 4x4 units that is not the unit's mean colour."""
    seen = torch.tensor((FUNDUS - mean) / std).reshape(2, 4, 4, 4, 4, 3).permute(0, 1, 3, 2, 4, 5).reshape(32, 16, 3)
    flat = seen.reshape(32, -1)
    target = ((flat - flat.mean(-1, keepdim=True)) / (flat.var(-1, keepdim=True) + 1e-6) ** 0.5).reshape(32, 16, 3)
    return float(((target - target.mean(1, keepdim=True)) ** 2).mean() / (target**2).mean())


def test_the_target_of_one_coloured_images_is_colour_unless_channels_have_their_own_statistics():
    assert structure(0.45, 0.25) < 0.1
    assert structure(COLOUR, CONTRAST) > 0.9


def test_the_content_of_a_unit_is_the_deviation_from_its_mean_colour():
    unit = RANDOM.random((1, 1, 1, 4, 3))
    expected = torch.tensor(unit).var(3, unbiased=False).mean(-1).sqrt()
    np.testing.assert_allclose(targets.content(jnp.asarray(unit.reshape(1, 1, 1, 12), jnp.float32), 3), expected, rtol=1e-5)
    flat = jnp.tile(jnp.array([0.9, 0.1, 0.4]), 4).reshape(1, 1, 1, 12)
    np.testing.assert_allclose(targets.content(flat, 3), 0, atol=1e-6)
    hidden = jnp.array([[[True, False, True]]])
    units = jnp.concatenate([flat, flat, jnp.asarray(unit.reshape(1, 1, 1, 12), jnp.float32)], axis=2)
    assert targets.counted(hidden, units, 3, 0.0).tolist() == hidden.tolist()
    assert targets.counted(hidden, units, 3, 0.01).tolist() == [[[False, False, True]]]


@pytest.mark.parametrize("name", RECIPES)
def test_a_method_s_loss_is_over_hidden_units_with_content_in_standardised_units(name):
    """The left half of each image has one colour, so with `content` it does not count; computed again from the method's values."""
    image = np.array(FUNDUS, np.float32)
    image[:, :, :8] = COLOUR
    batch = {"image": jnp.asarray(image), "valid": jnp.ones(2, bool), "index": jnp.arange(2)}
    described = RECIPES[name].recipe("tiny")
    described.update(target_mean=tuple(COLOUR), target_std=tuple(CONTRAST), content=0.05)
    method = build(described)
    variables = jax.jit(lambda: method.init(jax.random.key(0), batch, train=False))()
    hidden = jax.jit(lambda: method._hidden(batch, False))()
    unit = image.shape[1] // hidden.shape[1]
    values = jitted.apply(method, variables, batch["image"], hidden, False, method="_values")
    seen = jnp.asarray((image - COLOUR) / CONTRAST, jnp.float32)
    counted = np.array(hidden)
    counted[:, :, : counted.shape[2] // 2] = False
    assert 0 < counted.sum() < hidden.sum()
    if name == "simmim":
        error, counted = jnp.abs(values - seen), masking.spread(jnp.asarray(counted), unit)
    else:
        target = images.patches(seen, unit)
        if name == "fcmae":
            mean, deviation = images.patch_statistics(target)
            target = (target - mean) / deviation
        error = jnp.square(values - target)
    expected = objectives.hidden_error(error, jnp.asarray(counted), batch["valid"])
    found = jitted.apply(method, variables, batch, train=False)[next(iter(method.coefficients))]
    assert found.value() == pytest.approx(float(expected.value()), rel=1e-4)
    assert found.weight == 2


@pytest.mark.parametrize("name", RECIPES)
def test_mean_and_std_come_together_and_no_recipe_has_them(name):
    described = RECIPES[name].recipe("small")
    assert (described.target_mean, described.target_std, described.content) == ((), (), 0.0)
    with pytest.raises(UserError, match=r"as many target_mean as target_std, the latter above 0; got \(0\.5,\) and \(\)"):
        build({**described.to_dict(), "target_mean": (0.5,)})
    with pytest.raises(UserError, match=r"needs content of 0 or more; got -1"):
        build({**described.to_dict(), "content": -1.0})


def test_drive_s_methods_of_normalised_units_use_its_own_statistics():
    for name in ("spark", "fcmae"):
        method = cli.load_config(f"drive:{name}").method
        assert (len(method.target_mean), method.content) == (3, 0.06)
        assert method.encoder.mean == (0.45,), "the network's input is the same in all rows"
