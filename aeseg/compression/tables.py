"""Integer probability tables: encoder and decoder need equal ones, and floats may differ between machines."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int64
from scipy.special import ndtr

from aeseg.models.entropy import LEAST_SCALE, LEVELS, LOG_STEP

TOTAL = 2**16
"""Sum of every table.  A quotient by it is an exact float, so the range coder's own rounding is equal on all machines."""

REACH = 4.5
"""Standard deviations that a table of a normal distribution reaches; values beyond it are escaped."""

FURTHEST = 255
"""Largest absolute value in a table of a learned density."""


class Table(NamedTuple):
    """Counts of the values low, low + 1, ..., and last of the escape, which all other values share."""

    low: int
    counts: Int64[np.ndarray, "n"]

    @property
    def escape(self) -> int:
        """Return the symbol of the escape."""
        return len(self.counts) - 1


def quantised(mass: Float[np.ndarray, "n"]) -> Int64[np.ndarray, "n"]:
    """Return positive integers with sum TOTAL, close to proportional to the masses; the largest takes what rounding leaves."""
    free = TOTAL - len(mass)
    counts = np.floor(free * mass / mass.sum()).astype(np.int64) + 1
    counts[np.argmax(counts)] += TOTAL - counts.sum()
    return counts


def of_scales() -> list[Table]:
    """Return a table for each level of scale."""
    return [_of_scale(LEAST_SCALE * math.exp(level * LOG_STEP)) for level in range(LEVELS)]


def of_density(mass: Float[np.ndarray, "n"]) -> Table:
    """Return the table of a learned density, from its mass at -FURTHEST .. FURTHEST; values of less than half a count are escaped."""
    kept = np.flatnonzero(mass * TOTAL > 0.5)
    first, last = (int(kept[0]), int(kept[-1])) if kept.size else (FURTHEST, FURTHEST)
    return Table(first - FURTHEST, quantised(_with_escape(mass[first : last + 1].astype(np.float64))))


def _of_scale(scale: float) -> Table:
    reach = max(1, math.ceil(REACH * scale))
    values = np.arange(-reach, reach + 1)
    return Table(-reach, quantised(_with_escape(ndtr((0.5 - abs(values)) / scale) - ndtr((-0.5 - abs(values)) / scale))))


def _with_escape(mass: Float[np.ndarray, "n"]) -> Float[np.ndarray, "_"]:
    return np.append(mass, max(0.0, 1 - mass.sum()))
