"""experiments/study/claims.py: a verdict follows from the differences alone, and equals the decision of scipy's t-tests."""

import math

import numpy as np
import pytest
from scipy import stats

from experiments.study import claims
from experiments.study.claims import FAILS, HOLDS, UNMEASURED, UNTOLD

FIVE = np.array([0.8, 1.0, 1.1, 0.9, 1.2])


@pytest.mark.parametrize(
    ("values", "expected"),
    [(FIVE, HOLDS), (-FIVE, FAILS), (FIVE - 1, FAILS), (10 * (FIVE - 0.9), UNTOLD), (FIVE[:4], UNTOLD), ([2.0], UNTOLD), ([], UNMEASURED)],
    ids=["above", "below", "no difference that matters", "wide", "four seeds", "one seed", "none"],
)
def test_a_verdict_follows_from_the_interval_and_the_difference_that_matters(values, expected):
    assert claims.judge(list(values), matters=0.5).verdict == expected


def test_rows_that_need_only_be_as_good_may_lose_what_does_not_matter():
    assert claims.judge(list(FIVE - 1.1), matters=0.5, bar=-0.5).verdict == HOLDS
    assert claims.judge(list(-FIVE), matters=0.5, bar=-0.5).verdict == FAILS
    assert claims.judge(list(FIVE - 1.4), matters=0.5, bar=-0.5).verdict == FAILS, "worse beyond its interval, and not as good"
    assert claims.judge(list(5 * (FIVE - 1.1)), matters=0.5, bar=-0.5).verdict == UNTOLD


@pytest.mark.parametrize("comparisons", [1, 3])
@pytest.mark.parametrize("shift", np.linspace(-1.5, 0.5, 9))
def test_the_verdict_is_the_decision_of_two_t_tests_at_the_corrected_level(comparisons, shift):
    values, matters, level = FIVE + shift, 0.4, 0.025 / comparisons
    holds = stats.ttest_1samp(values, 0.0, alternative="greater").pvalue < level
    fails = stats.ttest_1samp(values, matters, alternative="less").pvalue < level
    assert claims.judge(list(values), matters, comparisons=comparisons).verdict == (HOLDS if holds else FAILS if fails else UNTOLD)


def test_the_smallest_difference_is_shown_in_four_of_five_repetitions():
    spread, seeds = 0.3, 6
    values = spread * stats.zscore(np.arange(seeds), ddof=1)
    finding = claims.judge(list(values), matters=0.1)
    drawn = np.random.default_rng(0).normal(finding.smallest, spread, (40_000, seeds))
    shown = stats.ttest_1samp(drawn, 0.0, axis=1).pvalue < 0.05
    assert np.mean(shown & (drawn.mean(axis=1) > 0)) == pytest.approx(0.8, abs=0.01)


def test_differences_are_means_over_pairs_of_the_seeds_that_have_all_rows():
    scores = {(row, seed): value + seed for row, value in {"a": 3.0, "b": 1.0, "c": 5.0, "d": 4.5}.items() for seed in range(3)}
    del scores["c", 1]
    assert claims.differences([("a", "b"), ("c", "d")], scores) == [1.25, 1.25]
    assert claims.differences([("a", "b")], scores) == [2.0, 2.0, 2.0]
    assert claims.differences([("a", "e")], scores) == []


def test_equal_runs_show_no_difference():
    finding = claims.judge([0.0] * 5, matters=0.01)
    assert (finding.mean, finding.half, finding.smallest, finding.verdict) == (0, 0, 0, FAILS)
    assert math.isnan(claims.judge([1.0], 0.1).smallest)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((HOLDS, HOLDS), HOLDS),
        ((HOLDS, FAILS), FAILS),
        ((UNTOLD, FAILS), FAILS),
        ((HOLDS, UNTOLD), UNTOLD),
        ((HOLDS, UNMEASURED), UNTOLD),
        ((UNMEASURED, UNMEASURED), UNMEASURED),
        ((), UNMEASURED),
    ],
)
def test_a_general_statement_fails_with_one_comparison_and_holds_with_all(verdicts, expected):
    assert claims.verdict(verdicts) == expected
