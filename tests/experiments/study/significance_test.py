"""experiments/study/significance.py, against scipy.stats and counts by hand."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from experiments.study import significance

OURS, THEIRS = np.array([0.40, 0.36, 0.47, 0.41, 0.39]), np.array([0.37, 0.37, 0.41, 0.36, 0.35])


def test_the_interval_equals_students_t_interval():
    values = [0.2, 0.25, 0.4, 0.3]
    mean, half = significance.interval(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    np.testing.assert_allclose([mean - half, mean + half], [low, high])
    assert math.isnan(significance.interval([0.5])[1])


def test_the_bootstrap_is_the_percentiles_of_the_means_of_resamples():
    differences = OURS - THEIRS
    resamples = np.random.default_rng(1).choice(differences, (10_000, 5))
    expected = np.quantile(resamples.mean(axis=1), (0.025, 0.975))
    np.testing.assert_allclose(significance.bootstrap(differences), expected, atol=2e-3)
    assert significance.bootstrap(differences) == significance.bootstrap(differences)


@pytest.mark.parametrize("seeds", [3, 4, 5])
def test_the_p_value_is_the_fraction_of_sign_patterns_with_a_mean_as_far_from_0(seeds):
    differences = (OURS - THEIRS)[:seeds]
    means = [np.mean(differences * signs) for signs in itertools.product((-1, 1), repeat=seeds)]
    expected = np.mean(np.abs(means) >= abs(differences.mean()) - 1e-12)
    assert significance.sign_flip(differences) == pytest.approx(expected)


def test_the_smallest_p_value_of_n_seeds_is_2_of_2_to_the_n():
    assert significance.sign_flip([0.01, 0.01, 0.01]) == 0.25
    assert significance.sign_flip([0.01] * 5) == significance.smallest_p(5) == 2 / 2**5
    assert significance.sign_flip([0.0, 0.0]) == 1.0


@pytest.mark.parametrize("seeds", [5, 8])
def test_the_bootstrap_of_few_seeds_contains_the_mean_in_fewer_than_95_of_100_cases(seeds):
    samples = np.random.default_rng(3).standard_normal((1500, seeds))
    intervals = np.array([significance.bootstrap(sample) for sample in samples[:300]])
    held = np.mean((intervals[:, 0] <= 0) & (intervals[:, 1] >= 0))
    found = significance.bootstrap_coverage(seeds)
    assert found == pytest.approx(held, abs=0.06)
    by_t = 2 * stats.t.cdf(stats.norm.ppf(0.975) * np.sqrt((seeds - 1) / seeds), seeds - 1) - 1  # if resampled means were normal
    assert found == pytest.approx(by_t, abs=0.015)
    assert found < 0.90


@pytest.mark.parametrize("things", [3, 4, 6])
def test_the_p_value_of_few_ranks_equals_scipy_over_all_orders(things):
    one, other = np.random.default_rng(things).random((2, things))
    found = stats.permutation_test(
        (one,), lambda each: stats.spearmanr(each, other).statistic, permutation_type="pairings", n_resamples=np.inf
    )
    rho, p = significance.rank_correlation(one, other)
    assert rho == pytest.approx(found.statistic)
    assert p == pytest.approx(found.pvalue)


@pytest.mark.parametrize(
    ("ours", "theirs", "rho", "p"),
    [
        ((1, 2, 3), (10, 20, 30), 1, 2 / 6),  # 2 of 6 orders: this order and its opposite
        ((3, 2, 1), (10, 20, 30), -1, 2 / 6),
        ((0.1, 0.2, 0.3, 0.4), (55, 50, 60, 70), 0.8, 8 / 24),  # as far: the identity, three swaps of neighbours, and their opposites
        ((1, 1, 2), (5, 5, 9), 1, 2 / 6),  # the third stays last in 2 of 6; no order gives -1
    ],
)
def test_the_p_value_of_few_ranks_by_hand(ours, theirs, rho, p):
    np.testing.assert_allclose(significance.rank_correlation(ours, theirs), (rho, p))


def test_equal_ranks_are_counted_with_all_orders():
    ours, theirs = np.array([1, 1, 2, 3, 3, 4]), np.array([2, 1, 1, 5, 4, 5])
    every = [stats.spearmanr(np.array(order), theirs).statistic for order in itertools.permutations(ours)]
    rho = stats.spearmanr(ours, theirs).statistic
    np.testing.assert_allclose(significance.rank_correlation(ours, theirs), (rho, np.mean(np.abs(every) >= rho - 1e-9)))


def test_many_ranks_have_a_p_value_by_t_and_equal_ranks_have_none():
    ours, theirs = np.random.default_rng(0).random((2, significance.EXACT + 1))
    found = stats.spearmanr(ours, theirs)
    np.testing.assert_allclose(significance.rank_correlation(ours, theirs), (found.statistic, found.pvalue))
    assert np.isnan(significance.rank_correlation([1, 1, 1], [1, 2, 3])).all()


def test_holm_equals_the_correction_of_r_and_of_statsmodels():
    assert significance.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # p.adjust(c(...), "holm")
    expected = [0.04, 0.09, 0.09, 0.025, 0.09]  # multipletests(..., method="holm")
    assert significance.holm([0.01, 0.04, 0.03, 0.005, 0.03]) == pytest.approx(expected)
    assert significance.holm([0.6, 0.9]) == [1.0, 1.0]


def test_paired_differences_are_tested_as_scipy_tests_them():
    expected = stats.ttest_rel(OURS, THEIRS)
    found = significance.paired(OURS - THEIRS)
    low, high = expected.confidence_interval(0.95)
    assert found[:3] == pytest.approx((np.mean(OURS - THEIRS), (high - low) / 2, expected.pvalue))
    assert np.isnan(significance.paired([0.1])[1:]).all()
    assert (significance.paired([0.1, 0.1]).p, significance.paired([0.0, 0.0]).p) == (0, 1)


@pytest.mark.parametrize(
    ("seeds", "comparisons", "expected"),
    [(3, 1, 3.264044), (5, 1, 1.681997), (10, 1, 0.996002), (10, 2, 1.138854), (20, 4, 0.814591)],
)
def test_the_smallest_difference_equals_the_effect_size_of_statsmodels(seeds, comparisons, expected):
    """TTestPower().solve_power(nobs=seeds, alpha=0.05 / comparisons, power=0.8): a mean in standard deviations of the differences."""
    sample = np.random.default_rng(0).standard_normal(seeds)
    found = significance.paired(sample, comparisons).smallest
    assert found / np.std(sample, ddof=1) == pytest.approx(expected, abs=1e-5)


def test_the_smallest_difference_is_shown_with_the_power_that_scipy_simulates():
    shift = significance.smallest(1 / np.sqrt(10), 10)
    random = np.random.default_rng(0)
    found = stats.power(
        lambda sample, axis: stats.ttest_1samp(sample, 0, axis=axis).pvalue,
        lambda size: random.normal(shift, 1, size),
        10,
        significance=significance.CHANCE,
        n_resamples=20_000,
    )
    assert found.power == pytest.approx(significance.POWER, abs=0.01)
