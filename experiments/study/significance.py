"""Significance of means over seeds and of paired differences."""

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

ENOUGH = 5
"""Fewest pairs for a bootstrap and a permutation test: with 3, no p-value is below 0.25."""
RESAMPLES = 10_000
CHANCE = 0.05
"""Fraction of 95 % intervals that exclude the true mean."""
POWER = 0.8
"""Probability with which the `smallest` difference is shown."""
EXACT = 8
"""Largest number of items for which all orders are counted: 40,320 orders."""


def interval(values: Sequence[float], comparisons: int = 1) -> tuple[float, float]:
    """Return (mean, half the width of its 95 % interval) by Student's t; NaN as interval of a single value.

    With more `comparisons`, that many intervals all hold their true means in at least 95 % of cases (Bonferroni).
    """
    array = np.asarray(values, np.float64)
    if len(array) < 2:
        return float(array.mean()), float("nan")
    return float(array.mean()), float(stats.t.ppf(1 - CHANCE / 2 / comparisons, len(array) - 1) * standard_error(array))


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean of two or more values."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


class Paired(NamedTuple):
    """Paired differences: mean, half of the 95 % interval and two-sided p-value by Student's t, and the `smallest` that they could show.

    All but the mean are NaN for one difference.
    """

    mean: float
    half: float
    p: float
    smallest: float


def paired(differences: Sequence[float], comparisons: int = 1) -> Paired:
    """Return the t-test of paired differences, one or more; `smallest` is at CHANCE / comparisons, the first level of `holm`.

    Equal differences have p = 0, or 1 if all are 0.
    """
    mean, half = interval(differences)
    if len(differences) < 2:
        return Paired(mean, half, float("nan"), float("nan"))
    error, seeds = standard_error(differences), len(differences)
    if error > 1e-12:
        p = 2 * float(stats.t.sf(abs(mean) / error, seeds - 1))
    else:
        p = 0.0 if mean else 1.0
    return Paired(mean, half, p, smallest(error, seeds, comparisons))


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values corrected by Holm (1979): a level bounds the probability of any false rejection among them."""
    order, corrected, largest = np.argsort(values, kind="stable"), [0.0] * len(values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = largest
    return corrected


def smallest(error: float, seeds: int, comparisons: int = 1) -> float:
    """Return the true difference that a paired t-test at the level CHANCE / comparisons shows with probability POWER.

    `error` is the standard error of the mean.
    """
    return _detectable(seeds, comparisons) * error


@functools.cache
def _detectable(seeds: int, comparisons: int) -> float:
    """Return `smallest` in standard errors: where the noncentral t distribution exceeds the critical value with probability POWER."""
    critical = stats.t.ppf(1 - CHANCE / 2 / comparisons, seeds - 1)

    def lacking(shift: float) -> float:
        return float(stats.nct.sf(critical, seeds - 1, shift)) - POWER

    above = 4.0
    while lacking(above) < 0:
        above *= 2
    return float(optimize.brentq(lacking, 0.0, above))


def bootstrap(differences: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of paired differences, by percentiles of the bootstrap (Efron 1979).

    The same differences give the same interval: the generator's seed is fixed.
    """
    data = (np.asarray(differences, np.float64),)
    result = stats.bootstrap(data, np.mean, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0))
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def sign_flip(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of paired differences: the fraction of sign patterns with a mean as far from 0 (Fisher 1935).

    All 2^n patterns of n seeds are counted, including the observed pattern, so p is at least 2 / 2^n.
    """
    data = (np.asarray(differences, np.float64),)
    return float(stats.permutation_test(data, np.mean, permutation_type="samples", n_resamples=np.inf).pvalue)


def smallest_p(seeds: int) -> float:
    """Return the smallest p-value of `sign_flip`: from the observed signs and the opposite signs."""
    return 2 / 2**seeds


@functools.cache
def bootstrap_coverage(seeds: int) -> float:
    """Return how often the `bootstrap` interval of normal differences contains their true mean; for few differences it is too narrow.

    By simulation: the interval contains the mean if at least 2.5 % of the resampled means lie on either side of it.
    """
    random = np.random.default_rng(0)
    drawn = random.integers(seeds, size=(1_000, seeds))
    times = (drawn[:, :, None] == np.arange(seeds)).mean(axis=1)  # fraction of each difference in a resample
    below = np.mean(times @ random.standard_normal((seeds, 10_000)) < 0, axis=0)
    return float(np.mean((below >= CHANCE / 2) & (below <= 1 - CHANCE / 2)))


def rank_correlation(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """Return (rho, two-sided p-value) of two rankings of the same items (Spearman 1904); NaN if one is constant.

    For up to EXACT items, p is the fraction of all orders with a rho as far from 0, ties included (scipy's permutation_test doubles the
    smaller tail, which differs if there are ties); for more items, p is by Student's t.
    """
    ranks = np.stack([stats.rankdata(values) for values in (ours, theirs)])
    one, other = ranks - ranks.mean(axis=1, keepdims=True)
    scale = np.sqrt(np.sum(one**2) * np.sum(other**2))
    if scale == 0:
        return float("nan"), float("nan")
    if len(one) > EXACT:
        result = stats.spearmanr(ours, theirs)
        return float(result.statistic), float(result.pvalue)
    rho = float(one @ other / scale)
    every = np.array(list(itertools.permutations(other))) @ one / scale
    return rho, float(np.mean(np.abs(every) >= abs(rho) - 1e-9))  # equal sums differ by rounding
