"""How sure a mean over seeds is, and a difference that is taken seed by seed."""

import functools
import itertools
from collections.abc import Sequence

import numpy as np
from scipy import stats

ENOUGH = 5
"""Pairs from which a bootstrap and a permutation test say something: with 3, no p-value is below 0.25."""
RESAMPLES = 10_000
CHANCE = 0.05
"""The share of intervals of 95 % that leave out a true mean."""
EXACT = 8
"""Things whose orders are all counted: 40,320 of them."""


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
    data = (np.asarray(differences, np.float64),)
    found = stats.bootstrap(data, np.mean, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0))
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def sign_flip(differences: Sequence[float]) -> float:
    """The two-sided p-value of paired differences: the share of all sign patterns whose mean is as far from 0 (Fisher 1935).

    All 2^n patterns of n seeds are counted, the one that was observed among them, so it is never below 2 / 2^n.
    """
    data = (np.asarray(differences, np.float64),)
    return float(stats.permutation_test(data, np.mean, permutation_type="samples", n_resamples=np.inf).pvalue)


def smallest_p(seeds: int) -> float:
    """The least that `sign_flip` can give of so many differences: that of the observed signs and of the opposite ones."""
    return 2 / 2**seeds


@functools.cache
def bootstrap_coverage(seeds: int) -> float:
    """How often the `bootstrap` interval of so many normal differences holds their true mean; of few it is too narrow.

    By simulation: the mean is inside where neither 2.5 % of the resampled means are below it nor 2.5 % above.
    """
    random = np.random.default_rng(0)
    drawn = random.integers(seeds, size=(1_000, seeds))
    times = (drawn[:, :, None] == np.arange(seeds)).mean(axis=1)  # how often each difference is in a resample
    below = np.mean(times @ random.standard_normal((seeds, 10_000)) < 0, axis=0)
    return float(np.mean((below >= CHANCE / 2) & (below <= 1 - CHANCE / 2)))


def rank_correlation(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """(rho, two-sided p-value) of two orders of the same things (Spearman 1904); NaN where one of them does not differ.

    Of up to EXACT things p is the share of all orders whose rho is as far from 0, equal ranks included (scipy's permutation_test doubles
    the smaller tail, which is another number where ranks are equal); of more it is by Student's t.
    """
    ranks = np.stack([stats.rankdata(values) for values in (ours, theirs)])
    one, other = ranks - ranks.mean(axis=1, keepdims=True)
    scale = np.sqrt(np.sum(one**2) * np.sum(other**2))
    if scale == 0:
        return float("nan"), float("nan")
    if len(one) > EXACT:
        found = stats.spearmanr(ours, theirs)
        return float(found.statistic), float(found.pvalue)
    rho = float(one @ other / scale)
    every = np.array(list(itertools.permutations(other))) @ one / scale
    return rho, float(np.mean(np.abs(every) >= abs(rho) - 1e-9))  # equal sums differ by rounding
