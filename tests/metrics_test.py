import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn import metrics as reference

from aeseg import metrics
from aeseg.metrics import Mean
from aeseg.types import IGNORE

# Labels 0 0 1 / 1 - 2, predictions 0 1 1 / 1 2 0, four classes; the last never occurs.
LABEL = np.array([[[0, 0, 1], [1, IGNORE, 2]]], np.int32)
PREDICTION = np.array([[[0, 1, 1], [1, 2, 0]]], np.int32)
COUNTS = np.array([[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])


def random_maps(classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    label = rng.integers(0, classes, (3, 20, 17), np.int32)
    prediction = np.where(rng.random(label.shape) < 0.5, label, rng.integers(0, classes, label.shape, np.int32))
    return prediction, np.where(rng.random(label.shape) < 0.1, IGNORE, label)


def test_means_are_added_with_plus_and_divided_once():
    joined = Mean(jnp.float32(6), jnp.float32(1)) + Mean(jnp.float32(0), jnp.float32(2))
    assert joined.value() == 2
    assert Mean(jnp.float32(0), jnp.float32(0)).value() == 0


def test_division_by_a_weight_of_0_has_gradient_0():
    assert jax.grad(lambda total: metrics.divide(total, jnp.float32(0)))(jnp.float32(3)) == 0


def test_confusion_counts_labels_in_rows_and_predictions_in_columns_without_ignored_pixels():
    found = metrics.confusion(PREDICTION, LABEL, 4)
    assert found.dtype == jnp.int32
    np.testing.assert_array_equal(found, COUNTS)


def test_confusion_equals_scikit_learn():
    prediction, label = random_maps(5)
    known = label != IGNORE
    np.testing.assert_array_equal(
        metrics.confusion(prediction, label, 5), reference.confusion_matrix(label[known], prediction[known], labels=range(5))
    )


def test_confusion_leaves_out_padding_rows():
    prediction, label = random_maps(5)
    found = metrics.confusion(prediction, label, 5, np.array([True, False, True]))
    np.testing.assert_array_equal(found, metrics.confusion(prediction[[0, 2]], label[[0, 2]], 5))


def test_confusion_of_uint8_labels_does_not_overflow():
    label = np.full((1, 2, 2), 20, np.uint8)
    assert metrics.confusion(label, label, 21)[20, 20] == 4


def test_confusion_does_not_count_labels_outside_the_classes():
    label = np.array([[0, 5, -1, 1]], np.int32)
    prediction = np.array([[0, 0, 0, 7]], np.int32)
    np.testing.assert_array_equal(metrics.confusion(prediction, label, 2), [[1, 0], [0, 0]])


def test_255_is_ignored_even_with_more_classes():
    label = np.array([[IGNORE, 254]], np.int32)
    assert metrics.confusion(label, label, 300).sum() == 1


def test_iou_dice_and_accuracies_by_hand():
    np.testing.assert_allclose(metrics.iou(COUNTS), [1 / 3, 2 / 3, 0, np.nan])
    np.testing.assert_allclose(metrics.dice(COUNTS), [2 / 4, 4 / 5, 0, np.nan])
    np.testing.assert_allclose(metrics.class_accuracies(COUNTS), [1 / 2, 1, 0, np.nan])
    assert metrics.pixel_accuracy(COUNTS) == pytest.approx(3 / 5)
    assert metrics.class_accuracy(COUNTS) == pytest.approx(1 / 2)
    assert metrics.mean_dice(COUNTS) == pytest.approx((2 / 4 + 4 / 5) / 3)
    assert metrics.frequency_weighted_iou(COUNTS) == pytest.approx(2 / 5 / 3 + 2 / 5 * 2 / 3)


def test_a_class_that_never_occurs_is_left_out_of_the_mean():
    assert metrics.mean_iou(COUNTS) == pytest.approx(1 / 3)
    assert metrics.classes_averaged(COUNTS) == 3


def test_the_reference_rule_always_divides_by_the_number_of_classes():
    assert metrics.reference_mean_iou(COUNTS) == pytest.approx(1 / 4)


def test_a_class_that_is_predicted_but_never_labelled_counts_0_in_iou_and_is_left_out_of_class_accuracy():
    counts = np.array([[2, 2], [0, 0]])
    np.testing.assert_array_equal(metrics.iou(counts), [0.5, 0])
    assert metrics.mean_iou(counts) == 0.25
    assert metrics.class_accuracy(counts) == 0.5


def test_scores_equal_scikit_learn():
    prediction, label = random_maps(6)
    known = label != IGNORE
    truth, guess = label[known], prediction[known]
    counts = np.asarray(metrics.confusion(prediction, label, 6))
    np.testing.assert_allclose(metrics.iou(counts), reference.jaccard_score(truth, guess, average=None))
    np.testing.assert_allclose(metrics.dice(counts), reference.f1_score(truth, guess, average=None))
    assert metrics.mean_iou(counts) == pytest.approx(reference.jaccard_score(truth, guess, average="macro"))
    assert metrics.frequency_weighted_iou(counts) == pytest.approx(reference.jaccard_score(truth, guess, average="weighted"))
    assert metrics.pixel_accuracy(counts) == pytest.approx(reference.accuracy_score(truth, guess))
    assert metrics.class_accuracy(counts) == pytest.approx(reference.balanced_accuracy_score(truth, guess))


def test_counts_beyond_int32_are_scored_exactly():
    counts = np.array([[3_000_000_000, 0], [1_000_000_000, 2_000_000_000]])
    np.testing.assert_allclose(metrics.iou(counts), [3 / 4, 2 / 3])
    in_int32 = np.array([[2**31 - 1, 2**31 - 1], [0, 2**31 - 1]], np.int32)
    assert metrics.pixel_accuracy(in_int32) == pytest.approx(2 / 3)


def test_without_a_labelled_pixel_every_score_is_nan():
    nothing = np.zeros((3, 3), np.int64)
    for score in (
        metrics.mean_iou,
        metrics.mean_dice,
        metrics.pixel_accuracy,
        metrics.class_accuracy,
        metrics.frequency_weighted_iou,
    ):
        assert np.isnan(score(nothing))
    assert metrics.classes_averaged(nothing) == 0


def test_psnr_and_ssim_are_means_of_scikit_image_over_images():
    rng = np.random.default_rng(1)
    target = rng.random((3, 14, 12, 3), dtype=np.float32)
    prediction = np.clip(target + 0.1 * rng.standard_normal(target.shape, np.float32), 0, 1)
    valid = jnp.array([True, True, False])
    psnr = metrics.psnr(jnp.asarray(prediction), jnp.asarray(target), valid)
    ssim = metrics.ssim(jnp.asarray(prediction), jnp.asarray(target), valid)
    assert psnr.weight == ssim.weight == 2
    pairs = list(zip(target[:2], prediction[:2], strict=True))
    expected = [peak_signal_noise_ratio(*pair, data_range=1) for pair in pairs]
    assert psnr.value() == pytest.approx(np.mean(expected), rel=1e-5)
    options = {"gaussian_weights": True, "use_sample_covariance": False, "data_range": 1, "channel_axis": -1}
    assert ssim.value() == pytest.approx(np.mean([structural_similarity(*pair, **options) for pair in pairs]), abs=1e-5)


def test_a_perfect_image_has_100_db_and_values_are_clipped_first():
    image = jnp.ones((1, 12, 12, 1))
    everything = jnp.array([True])
    assert metrics.psnr(image + 5, image, everything).value() == pytest.approx(100)
    assert metrics.ssim(image + 5, image, everything).value() == pytest.approx(1)


def test_accuracy_is_over_the_labelled_pixels_of_valid_rows():
    logits = jax.nn.one_hot(jnp.array([[[0, 1, 2]], [[0, 0, 0]]]), 3)
    label = jnp.array([[[0, 2, IGNORE]], [[0, 0, 0]]], jnp.int32)
    found = metrics.accuracy(logits, label, jnp.array([True, False]))
    assert (found.total, found.weight) == (1, 2)
