"""Calibration of a network, on the host: integer counts, float64 sums."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Integer

BINS = 15
"""Number of bins of equal width in (0, 1], as in the tables of Guo et al. 2017."""


class Reliability(NamedTuple):
    """Pixels, correctly predicted pixels and sum of confidences, per bin of the confidence."""

    pixels: Int64[np.ndarray, "bins"]
    right: Int64[np.ndarray, "bins"]
    confidence: Float64[np.ndarray, "bins"]


def confidence(logits: Float[np.ndarray, "*p k"], prediction: Integer[np.ndarray, "*p"]) -> Float[np.ndarray, "*p"]:
    """Return the softmax probability of the predicted class. It must be the most likely one, or the exponentials may overflow."""
    highest = np.take_along_axis(logits, prediction[..., None], axis=-1)
    return 1 / np.sum(np.exp(logits - highest), axis=-1)


def reliability(confidence: Float[np.ndarray, "p"], right: Bool[np.ndarray, "p"]) -> Reliability:
    """Count pixels per bin; a bin includes its upper edge only. Add the counts of the parts of a data set."""
    bin_index = np.clip(np.ceil(BINS * np.nan_to_num(confidence)) - 1, 0, BINS - 1).astype(np.int64)
    return Reliability(
        np.bincount(bin_index, minlength=BINS).astype(np.int64),
        np.bincount(bin_index[right], minlength=BINS).astype(np.int64),
        np.bincount(bin_index, confidence, minlength=BINS).astype(np.float64),  # bincount returns integers for empty input
    )


def expected_calibration_error(counts: Reliability) -> float:
    """Mean over pixels of |accuracy - mean confidence| of their bin (Guo et al. 2017, equation 3); NaN if there are no pixels."""
    pixels = counts.pixels.sum()
    return float(np.sum(np.abs(counts.right - counts.confidence)) / pixels) if pixels else float("nan")
