"""How sure a mean over seeds is, and a difference that is taken seed by seed."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

ENOUGH = 5
"""Pairs from which a bootstrap and a permutation test say something: with 3, no p-value is below 0.25."""
RESAMPLES = 10_000


def interval(values: Sequence[float]) -> tuple[float, float]:
    """(mean, half the width of its 95 % interval) by Student's t; one value has no interval (NaN)."""
    array = np.asarray(values, np.float64)
    if len(array) < 2:
        return float(array.mean()), float("nan")
    return float(array.mean()), float(stats.t.ppf(0.975, len(array) - 1) * array.std(ddof=1) / np.sqrt(len(array)))


def bootstrap(differences: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean of paired differences, by percentiles of the bootstrap (Efron 1979).

    The same differences give the same interval: the generator's seed is fixed.
    """
    array = np.asarray(differences, np.float64)
    drawn = np.random.default_rng(0).integers(len(array), size=(RESAMPLES, len(array)))
    low, high = np.quantile(array[drawn].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def sign_flip(differences: Sequence[float]) -> float:
    """The two-sided p-value of paired differences: the share of all sign patterns whose mean is as far from 0 (Fisher 1935).

    All 2^n patterns of n seeds are counted, the one that was observed among them, so it is never below 2 / 2^n.
    """
    sums = np.zeros(1)
    for each in differences:
        sums = np.concatenate([sums + each, sums - each])
    observed = abs(sum(differences))
    return float(np.mean(np.abs(sums) >= observed * (1 - 1e-9)))  # equal sums differ by rounding


def rank_correlation(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """(rho, two-sided p-value) of two orders of the same things (Spearman 1904); NaN where one of them does not differ."""
    found = stats.spearmanr(ours, theirs)
    return float(found.statistic), float(found.pvalue)
