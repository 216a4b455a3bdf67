"""Bootstrap intervals of IoU over images (Efron and Tibshirani 1993, section 13.3: percentiles)."""

import numpy as np
from jaxtyping import Float, Int

from aeseg import metrics

DRAWS = 2000
LEVEL = 95.0


def of_iou(confusions: Int[np.ndarray, "n k k"], draws: int = DRAWS, seed: int = 0) -> tuple[Float[np.ndarray, "k 2"], tuple[float, float]]:
    """Return the 95 % interval of each class's IoU, and of their mean.

    Each draw sums the matrices of images drawn with replacement.  NaN for a class that occurs in no draw, and for fewer than 2 images.
    """
    images, classes = confusions.shape[:2]
    if images < 2:
        return np.full((classes, 2), np.nan), (np.nan, np.nan)
    random = np.random.default_rng(seed)
    times = random.multinomial(images, np.full(images, 1 / images), size=draws)  # number of times that each draw has each image
    summed = (times @ confusions.reshape(images, -1).astype(np.float64)).reshape(draws, classes, classes)
    labelled, predicted, right = summed.sum(axis=2), summed.sum(axis=1), np.diagonal(summed, axis1=1, axis2=2)
    iou = metrics.ratio(right, labelled + predicted - right)
    ends = [(100 - LEVEL) / 2, (100 + LEVEL) / 2]
    known = ~np.isnan(iou).all(axis=0)
    each = np.full((classes, 2), np.nan)
    each[known] = np.nanpercentile(iou[:, known], ends, axis=0).T
    low, high = np.percentile(np.nanmean(iou[:, known], axis=1), ends)
    return each, (float(low), float(high))
