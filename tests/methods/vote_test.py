"""aeseg/methods/vote.py, against the segmenters that it is made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from aeseg.methods.segmenter import Segmenter
from aeseg.methods.vote import Vote
from aeseg.models.modalities.image import Image
from aeseg.models.modalities.planes import Planes
from aeseg.models.modalities.text import Text
from aeseg.types import UserError
from tests.methods import cases as methods
from tests.models.modalities import cases

BATCH = cases.batch()
SENSES = (Image(), Planes("thermal", mean=0.5, std=0.25, channels=2), Planes())
KEYS = ("image", "thermal", "depth")
PIXELS = {"image": BATCH["image"], "thermal": (BATCH["thermal"] - 0.5) / 0.25, "depth": BATCH["depth"][..., None]}


def method(modalities=SENSES, **fields):
    return Vote(**{"encoder": methods.PlainEncoder(), "head": methods.Head(), "classes": 3, "modalities": modalities, **fields})


def single(**fields):
    return Segmenter(methods.PlainEncoder(), methods.Head(), 3, **fields)


VARIABLES = jax.jit(lambda: method().init(jax.random.key(0), BATCH, train=False))()


def own(key):
    return {"params": VARIABLES["params"][f"networks_{key}"]}


@jax.jit
def logits_of(batch):
    return method().apply(VARIABLES, batch, method="predict_from")


def test_the_vote_is_the_mean_probability_of_the_networks_of_what_is_there():
    each = {key: special.softmax(np.asarray(single().apply(own(key), PIXELS[key], method="predict")), axis=-1) for key in KEYS}
    has = {"image": [1, 0, 1, 0], "thermal": [1, 1, 0, 0], "depth": [1, 1, 0, 0]}
    found = np.exp(logits_of({**BATCH, **{f"has_{key}": jnp.asarray(value, bool) for key, value in has.items()}}))
    for row in range(3):
        voices = [each[key][row] for key in KEYS if has[key][row]]
        np.testing.assert_allclose(found[row], np.mean(voices, axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[3], 1 / 3, rtol=1e-6)  # nothing is known of a record without a modality


def test_the_image_alone_is_its_own_networks_vote():
    found = method().apply(VARIABLES, BATCH["image"], method="predict")
    expected = jax.nn.log_softmax(single().apply(own("image"), BATCH["image"], method="predict"))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("objective", ["cross_entropy", "cross_entropy_dice"])
def test_each_network_has_the_loss_that_it_has_on_its_own(objective):
    ours, alone = method(objective=objective), single(objective=objective)
    has = {"image": jnp.array([True, True, False, True]), "thermal": jnp.ones(4, bool), "depth": jnp.array([False, True, True, False])}
    batch = {**BATCH, **{f"has_{key}": value for key, value in has.items()}}
    means = ours.apply(VARIABLES, batch, train=True)
    for key in KEYS:
        part = {**BATCH, "image": PIXELS[key], "valid": has[key]}
        for name, mean in alone.apply(own(key), part, train=True).items():
            np.testing.assert_allclose(means[f"{key}_{name}"], mean, rtol=1e-5)
            np.testing.assert_array_equal(ours.denominators(batch)[f"{key}_{name}"], mean.weight)
    assert ours.coefficients == {f"{key}_{name}": 1.0 for key in KEYS for name in alone.coefficients}


def test_a_network_learns_nothing_from_records_without_its_modality():
    batch = {**BATCH, "has_depth": jnp.zeros(4, bool)}
    _, gradient = methods.loss_and_gradient(method(), VARIABLES, batch)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient["networks_depth"]))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradient["networks_thermal"]))


def test_microbatches_add_up_to_the_batch():
    methods.assert_microbatches_change_nothing(method(), {**BATCH, "has_depth": jnp.array([False, True, True, False])})


@pytest.mark.parametrize(
    ("modalities", "message"),
    [
        ((Image(), Text()), r"Vote needs modalities that are aligned with the image; \['caption'\] are not"),
        ((Planes(),), r"Vote needs modalities with the image first.*got \['depth'\]"),
    ],
)
def test_what_does_not_fit_is_named(modalities, message):
    with pytest.raises(UserError, match=message):
        method(modalities)
