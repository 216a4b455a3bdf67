"""Compare two curves of quality over rate."""

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

Curve = Sequence[tuple[float, float]]
"""(bits per pixel, quality in decibels) of each setting of a coder."""


def bjontegaard(anchor: Curve, tested: Curve) -> float:
    """Return the mean difference of rate at equal quality, in % of the anchor (Bjontegaard 2001, VCEG-M33): -10 saves a tenth.

    The logarithm of the rate is a piecewise cubic function of quality (PCHIP, as in the JCT-VC's tables; VCEG-M33 has one cubic
    polynomial), averaged over the qualities that both curves reach.  NaN if they share none, or if a curve has fewer than two points.
    """
    curves = [_increasing(curve) for curve in (anchor, tested)]
    if min(len(quality) for quality, _ in curves) < 2:
        return float("nan")
    low, high = max(quality[0] for quality, _ in curves), min(quality[-1] for quality, _ in curves)
    if low >= high:
        return float("nan")
    means = [PchipInterpolator(quality, rate).integrate(low, high) / (high - low) for quality, rate in curves]
    return float(100 * (10 ** (means[1] - means[0]) - 1))


def _increasing(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """Return (qualities, logarithms of rates) of the settings, by increasing quality; of equal qualities, the cheapest."""
    cheapest: dict[float, float] = {}
    for rate, quality in curve:
        cheapest[quality] = min(rate, cheapest.get(quality, rate))
    qualities = sorted(cheapest)
    return np.array(qualities), np.log10([cheapest[quality] for quality in qualities])
