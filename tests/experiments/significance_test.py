"""experiments/significance.py beside scipy.stats."""

import math

import numpy as np
import pytest
from scipy import stats

from experiments import significance

OURS, THEIRS = np.array([0.40, 0.36, 0.47, 0.41, 0.39]), np.array([0.37, 0.37, 0.41, 0.36, 0.35])


def mean_difference(one, other, axis=-1):
    return np.mean(one - other, axis=axis)


def test_the_interval_is_that_of_student():
    values = [0.2, 0.25, 0.4, 0.3]
    mean, half = significance.interval(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    np.testing.assert_allclose([mean - half, mean + half], [low, high])
    assert math.isnan(significance.interval([0.5])[1])


def test_the_bootstrap_is_scipys_paired_one_up_to_chance():
    found = stats.bootstrap((OURS, THEIRS), mean_difference, paired=True, method="percentile", n_resamples=10_000, rng=1)
    np.testing.assert_allclose(significance.bootstrap(OURS - THEIRS), found.confidence_interval, atol=2e-3)
    assert significance.bootstrap(OURS - THEIRS) == significance.bootstrap(OURS - THEIRS)


@pytest.mark.parametrize("seeds", [3, 4, 5])
def test_the_p_value_is_scipys_over_all_sign_patterns(seeds):
    samples = OURS[:seeds], THEIRS[:seeds]
    found = stats.permutation_test(samples, mean_difference, permutation_type="samples", n_resamples=np.inf)
    assert significance.sign_flip(samples[0] - samples[1]) == pytest.approx(found.pvalue)


def test_the_smallest_p_value_of_n_seeds_is_2_of_2_to_the_n():
    assert significance.sign_flip([0.01, 0.01, 0.01]) == 0.25
    assert significance.sign_flip([0.01] * 5) == 2 / 2**5
    assert significance.sign_flip([0.0, 0.0]) == 1.0
