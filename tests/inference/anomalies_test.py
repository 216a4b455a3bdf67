"""Anomaly maps of known errors, and AUROC against scikit-learn."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from aeseg.inference import anomalies
from aeseg.types import UserError

RNG = np.random.default_rng(0)
IMAGE = jnp.float32(RNG.random((2, 6, 8, 3)))


def test_without_hiding_every_pixel_counts_by_its_mean_absolute_error():
    output = jnp.float32(RNG.random((2, 6, 8, 3)))
    planes = anomalies.failures({"image": IMAGE, "reconstruction": output})
    np.testing.assert_allclose(planes[..., 0], np.abs(output - IMAGE).mean(-1), rtol=1e-5)
    np.testing.assert_array_equal(planes[..., 1], 1)


@pytest.mark.parametrize("column", ["visible", "noisy"])
def test_only_hidden_pixels_count_and_by_the_prediction_of_all_pixels(column):
    seen = IMAGE.at[0, 2:4, 1:5].set(0.5)
    shown = {"image": IMAGE, column: seen, "reconstruction": IMAGE, "prediction": IMAGE + 0.25}
    planes = anomalies.failures(shown)
    hidden = np.zeros((2, 6, 8))
    hidden[0, 2:4, 1:5] = 1
    np.testing.assert_array_equal(planes[..., 1], hidden)
    np.testing.assert_allclose(planes[..., 0], 0.25 * hidden, rtol=1e-5)


def test_a_method_without_reconstruction_is_refused():
    with pytest.raises(UserError, match=r"shows a reconstruction; this one shows image, tokens\. Name the --init"):
        anomalies.failures({"image": IMAGE, "tokens": IMAGE})


def test_errors_are_divided_by_how_often_a_pixel_counted():
    planes = np.float32(np.stack([RNG.random((6, 8)) * 4, np.full((6, 8), 4.0)], -1))
    np.testing.assert_allclose(anomalies.anomaly_map(planes, 0.0), planes[..., 0] / 4, rtol=1e-6)
    planes[2, 3] = 0  # never hidden: takes the value of its surroundings
    assert anomalies.anomaly_map(planes, 1.0)[2, 3] > 0


def test_the_smoothing_is_scipys_gaussian():
    planes = np.float32(np.stack([RNG.random((40, 50)), np.ones((40, 50))], -1))
    expected = ndimage.gaussian_filter(planes[..., 0].astype(float), 2.0, truncate=4.0)
    np.testing.assert_allclose(anomalies.anomaly_map(planes, 2.0), expected, atol=2e-3)


@pytest.mark.parametrize("levels", [3, 10**6])
def test_auroc_equals_scikit_learns_also_with_ties(levels):
    marked = RNG.random(5000) < 0.1
    scores = np.float32(np.round(RNG.normal(size=5000) + marked, 6) if levels > 3 else RNG.integers(0, levels, 5000) + marked)
    assert anomalies.auroc(scores, marked) == pytest.approx(roc_auc_score(marked, scores), abs=1e-12)


def test_auroc_needs_both_kinds():
    assert np.isnan(anomalies.auroc(np.ones(3), np.zeros(3, bool)))
    assert np.isnan(anomalies.auroc(np.ones(3), np.ones(3, bool)))
