"""Does a network know how sure it may be?  On the host: counts in integers, sums in float64."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Integer

BINS = 15
"""Of equal width in (0, 1], as Guo et al. 2017 have in their tables."""


class Reliability(NamedTuple):
    """For each bin of the confidence: its pixels, those predicted right, and the sum of their confidences."""

    pixels: Int64[np.ndarray, "bins"]
    right: Int64[np.ndarray, "bins"]
    confidence: Float64[np.ndarray, "bins"]


def confidence(logits: Float[np.ndarray, "*p k"], prediction: Integer[np.ndarray, "*p"]) -> Float[np.ndarray, "*p"]:
    """The softmax probability of the predicted class, which is the most likely one (else the exponentials may overflow)."""
    highest = np.take_along_axis(logits, prediction[..., None], axis=-1)
    return 1 / np.sum(np.exp(logits - highest), axis=-1)


def reliability(confidence: Float[np.ndarray, "p"], right: Bool[np.ndarray, "p"]) -> Reliability:
    """The counts of some pixels; those of a data set are the sum.  A bin holds its upper edge, not its lower one."""
    place = np.clip(np.ceil(BINS * np.nan_to_num(confidence)) - 1, 0, BINS - 1).astype(np.int64)
    return Reliability(
        np.bincount(place, minlength=BINS).astype(np.int64),
        np.bincount(place[right], minlength=BINS).astype(np.int64),
        np.bincount(place, confidence, minlength=BINS).astype(np.float64),  # of no pixels bincount gives integers
    )


def expected_calibration_error(found: Reliability) -> float:
    """The mean over pixels of |accuracy - mean confidence| of their bin (Guo et al. 2017, equation 3); NaN for no pixels."""
    pixels = found.pixels.sum()
    return float(np.sum(np.abs(found.right - found.confidence)) / pixels) if pixels else float("nan")
