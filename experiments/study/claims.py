"""Verdicts on the statements of a text, from paired differences alone."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from . import significance

HOLDS, FAILS, UNTOLD, UNMEASURED = "holds", "does not hold", "cannot be told at this budget", "not measured"
"""The three verdicts, and the absence of numbers."""


class Finding(NamedTuple):
    """The mean of paired differences, half of its interval, the smallest difference that the seeds could show, and the verdict.

    Half and smallest are NaN below two seeds; without a seed the mean is, too.
    """

    mean: float
    half: float
    smallest: float
    seeds: int
    verdict: str


def differences(pairs: Sequence[tuple[str, str]], scores: Mapping[tuple[str, int], float]) -> list[float]:
    """Return each seed's difference, the mean over the pairs, from scores by row and seed; seeds that lack a score are left out."""
    rows = {row for pair in pairs for row in pair}
    seeds = sorted(seed for seed in {seed for _, seed in scores} if all((row, seed) in scores for row in rows))
    return [float(np.mean([scores[ours, seed] - scores[theirs, seed] for ours, theirs in pairs])) for seed in seeds]


def judge(values: Sequence[float], matters: float, bar: float = 0.0, comparisons: int = 1) -> Finding:
    """Judge whether a true difference, of which `values` are one per seed, exceeds the bar.

    It holds if the interval lies above the bar, and does not hold if the interval lies below bar + matters: no difference that matters
    is left.  Otherwise, and with fewer than `significance.ENOUGH` seeds, it cannot be told.  The interval is corrected for the number
    of `comparisons` (`significance.interval`).
    """
    if not values:
        return Finding(math.nan, math.nan, math.nan, 0, UNMEASURED)
    mean, half = significance.interval(values, comparisons)
    seeds = len(values)
    smallest = significance.smallest(significance.standard_error(values), seeds, comparisons) if seeds > 1 else math.nan
    if seeds < significance.ENOUGH:
        return Finding(mean, half, smallest, seeds, UNTOLD)
    above, below = mean - half > bar, mean + half < bar + matters
    return Finding(mean, half, smallest, seeds, HOLDS if above else FAILS if below else UNTOLD)


def verdict(verdicts: Sequence[str]) -> str:
    """Return the verdict on a general statement from its primary comparisons: it fails if one fails, and holds if all hold."""
    if all(each == UNMEASURED for each in verdicts):
        return UNMEASURED
    return FAILS if FAILS in verdicts else HOLDS if all(each == HOLDS for each in verdicts) else UNTOLD
