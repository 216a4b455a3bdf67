import numpy as np
import pytest
from scipy import special
from sklearn.calibration import calibration_curve

from aeseg.calibration import BINS, Reliability, confidence, expected_calibration_error, reliability


def test_the_error_by_hand():
    found = reliability(np.array([0.95, 0.95, 0.55]), np.array([True, False, True]))
    assert found.pixels[[8, 14]].tolist() == [1, 2]
    assert found.right[[8, 14]].tolist() == [1, 1]
    assert found.pixels.sum() == 3
    assert expected_calibration_error(found) == pytest.approx((abs(1 - 2 * 0.95) + abs(1 - 0.55)) / 3)


def test_a_bin_includes_its_upper_edge():
    assert np.flatnonzero(reliability(np.array([0.2, 1.0]), np.ones(2, bool)).pixels).tolist() == [2, 14]


def test_counts_of_parts_add_up_to_the_total_counts():
    rng = np.random.default_rng(0)
    values, right = rng.uniform(0.1, 1, 100), rng.random(100) < 0.5
    joined = Reliability(*map(np.add, reliability(values[:30], right[:30]), reliability(values[30:], right[30:])))
    for found, expected in zip(joined, reliability(values, right), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_error_equals_the_calibration_curve_of_scikit_learn():
    rng = np.random.default_rng(1)
    values = rng.uniform(0.2, 1, 2000)
    right = rng.random(2000) < values**2
    accuracy, mean = calibration_curve(right, values, n_bins=BINS)  # only of bins that are not empty
    pixels, _ = np.histogram(values, BINS, (0, 1))
    expected = np.sum(pixels[pixels > 0] * np.abs(accuracy - mean)) / 2000
    assert expected > 0.1
    assert expected_calibration_error(reliability(values, right)) == pytest.approx(expected)


def test_confidence_is_the_largest_softmax_of_scipy():
    logits = np.random.default_rng(2).normal(scale=3, size=(5, 4, 7)).astype(np.float32)
    found = confidence(logits, np.argmax(logits, axis=-1))
    np.testing.assert_allclose(found, special.softmax(logits, axis=-1).max(axis=-1), rtol=1e-6)


def test_confidence_of_large_logits_does_not_overflow():
    assert confidence(np.array([[1e30, 0]], np.float32), np.array([0])) == 1


def test_without_a_pixel_the_error_is_nan_and_nan_is_counted():
    assert np.isnan(expected_calibration_error(reliability(np.zeros(0), np.zeros(0, bool))))
    assert reliability(np.array([np.nan]), np.array([False])).pixels.sum() == 1
