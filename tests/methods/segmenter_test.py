import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg import images, metrics
from aeseg.methods import segmenter
from aeseg.methods.segmenter import Segmenter
from aeseg.models.encoders import enet as encoders
from aeseg.models.heads import enet as heads
from aeseg.spec import build
from aeseg.types import IGNORE, UserError
from tests import jitted
from tests.methods import cases

BATCH = cases.batch()
WEIGHTS = (0.5, 1.0, 4.0)
VARIANTS = [
    {"objective": "dice"},
    {"objective": "cross_entropy_dice", "class_weights": WEIGHTS, "head": cases.Head(deep_supervision=2)},
]


def method(**fields):
    return Segmenter(**{"encoder": cases.PlainEncoder(), "head": cases.Head(), "classes": cases.CLASSES, **fields})


def initial(ours):
    return cases.initial(ours, BATCH)


@pytest.mark.parametrize("fields", VARIANTS)
def test_microbatches_of_unequally_many_labelled_pixels_add_up_to_the_batch(fields):
    cases.assert_microbatches_change_nothing(method(**fields), BATCH)


@pytest.mark.parametrize("fields", VARIANTS)
def test_denominators_are_the_weights_of_the_means(fields):
    cases.assert_denominators_are_the_weights(method(**fields), BATCH)


@pytest.mark.parametrize(
    ("objective", "coefficients"),
    [
        ("cross_entropy", {"cross_entropy": 1.0}),
        ("dice", {"dice_loss": 1.0}),
        ("cross_entropy_dice", {"cross_entropy": 1.0, "dice_loss": 1.0}),
    ],
)
def test_the_objective_selects_the_means_of_the_loss_and_all_are_logged(objective, coefficients):
    ours = method(objective=objective)
    assert ours.coefficients == coefficients
    assert set(jitted.apply(ours, initial(ours), BATCH, train=False)) == {"cross_entropy", "dice_loss", "accuracy"}


def test_coarser_logits_have_the_auxiliary_weight_in_the_loss():
    ours = method(head=cases.Head(deep_supervision=1))
    assert ours.coefficients == {"cross_entropy": 1.0, "auxiliary_cross_entropy": 0.4}
    means = jitted.apply(ours, initial(ours), BATCH, train=False)
    coarse_only = method(head=cases.Head(deep_supervision=1), auxiliary_weight=0.0)
    assert "auxiliary_cross_entropy" not in jitted.apply(coarse_only, initial(ours), BATCH, train=False)
    assert means["auxiliary_cross_entropy"].weight == means["cross_entropy"].weight
    assert means["auxiliary_cross_entropy"].total != means["cross_entropy"].total


def test_predictions_are_the_finest_logits_at_the_image_size():
    ours = method(head=cases.Head(deep_supervision=1))
    variables = initial(ours)
    logits = ours.apply(variables, BATCH["image"], method="predict")
    pyramid = ours.apply(variables, BATCH, method=lambda module, batch: module._logits(batch, False))
    assert sorted(pyramid) == [2, 4]
    assert (logits.shape, logits.dtype) == ((8, 12, 16, 3), jnp.float32)
    np.testing.assert_array_equal(logits, images.resize(pyramid[2], 12, 16))


def test_logits_at_every_pixel_keep_their_position_at_odd_sizes():
    """ENet pools an odd last row alone, which comes back as two: the second is cut, and no logit moves."""
    ours = method(encoder=build(encoders.recipe("tiny")), head=build(heads.recipe("tiny", classes=3)))
    variables, image = initial(ours), jax.random.uniform(jax.random.key(0), (1, 45, 61, 3))
    call = jax.jit(ours.apply, static_argnames="method")
    pyramid = call(variables, image, method=lambda module, image: module.head(module.encoder(image, train=False), train=False))
    assert pyramid[1].shape == (1, 46, 62, 3)
    np.testing.assert_array_equal(call(variables, image, method="predict"), pyramid[1][:, :45, :61])


def test_the_logged_accuracy_equals_the_confusion_matrix():
    ours = method()
    variables = initial(ours)
    prediction = jnp.argmax(jitted.apply(ours, variables, BATCH["image"], method="predict"), axis=-1)
    counts = np.asarray(metrics.confusion(prediction, BATCH["label"], cases.CLASSES, BATCH["valid"]))
    found = jitted.apply(ours, variables, BATCH, train=False)["accuracy"]
    assert (found.total, found.weight) == (np.trace(counts), counts.sum())


def test_a_frozen_encoder_runs_in_evaluation_mode_without_gradient():
    ours = method(encoder=cases.Encoder(), frozen_encoder=True)
    variables = initial(ours)
    means, updates = jitted.apply(ours, variables, BATCH, train=True, mutable=["batch_stats"])
    jax.tree.map(np.testing.assert_array_equal, updates["batch_stats"], variables["batch_stats"])
    np.testing.assert_array_equal(means["cross_entropy"], jitted.apply(ours, variables, BATCH, train=False)["cross_entropy"])
    _, gradient = cases.loss_and_gradient(ours, variables, BATCH)
    jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf, 0), gradient["encoder"])
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradient["head"]))


def test_a_batch_of_ignored_pixels_has_a_finite_loss_of_0():
    ours = method(objective="cross_entropy_dice")
    ignored = {**BATCH, "label": jnp.full_like(BATCH["label"], IGNORE)}
    variables = initial(ours)
    means = jitted.apply(ours, variables, ignored, train=False)
    assert all(mean.total == mean.weight == mean.value() == 0 for mean in means.values())


def test_pictures_are_the_image_its_label_and_the_prediction():
    ours = method()
    shown = jitted.apply(ours, initial(ours), BATCH, method="show")
    assert list(shown) == ["image", "label", "prediction"]
    assert (shown["prediction"].shape, shown["prediction"].dtype) == (BATCH["label"].shape, jnp.int32)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"objective": "focal"}, "objective is one of cross_entropy, dice, cross_entropy_dice; got 'focal'"),
        ({"class_weights": (1.0, 2.0)}, "one number for each of the 3 classes; got 2"),
        ({"classes": 5}, "Segmenter has 5 classes; its Head has 3"),
    ],
)
def test_fields_that_do_not_fit_are_named(fields, message):
    with pytest.raises(UserError, match=message):
        method(**fields)


def test_the_number_of_classes_in_a_config_sets_the_head():
    config = segmenter.recipe("tiny")
    config.classes = 9
    ours = build(config)
    assert (ours.classes, ours.head.classes) == (9, 9)
    made = jax.eval_shape(lambda: ours.init_with_output(jax.random.key(0), BATCH["image"], method="predict"))
    assert made[0].shape == (8, 12, 16, 9)
