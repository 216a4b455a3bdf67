"""Segmentation measures beyond the confusion matrix. Each is counted per image, summed, and divided once."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from aeseg import boundaries, calibration, metrics
from aeseg.types import IGNORE


class Measure(NamedTuple):
    """A pair of pure functions for `evaluate.segmentation`.

    counts  counts(logits [h w k], prediction [h w], label [h w]) returns int64 and float64 arrays by name; zeros if no pixel is
            labelled
    scores  scores(sums), with the counts summed over all images, returns a number or one number per class, by name; NaN if
            undefined
    """

    counts: Callable[[np.ndarray, np.ndarray, np.ndarray], dict[str, np.ndarray]]
    scores: Callable[[Mapping[str, np.ndarray]], dict[str, Any]]


def _boundary_counts(logits: np.ndarray, prediction: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
    f1 = boundaries.boundary_f1(prediction, label, logits.shape[-1])
    return {
        "f1": np.nan_to_num(f1),
        "f1_images": (~np.isnan(f1)).astype(np.int64),
        "overlap": boundaries.boundary_overlap(prediction, label, logits.shape[-1]),
    }


def _boundary_scores(sums: Mapping[str, np.ndarray]) -> dict[str, Any]:
    f1, iou = metrics.ratio(sums["f1"], sums["f1_images"]), metrics.ratio(*sums["overlap"])
    return {
        "mean_boundary_f1": metrics.mean_over_classes(f1),
        "mean_boundary_iou": metrics.mean_over_classes(iou),
        "boundary_f1": f1,
        "boundary_iou": iou,
    }


def _reference_boundary_counts(logits: np.ndarray, prediction: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
    if (label == IGNORE).all():
        return {"image_f1": np.zeros(2)}
    f1 = boundaries.reference_boundary_f1(prediction, label, logits.shape[-1])
    outlined = f1[~np.isnan(f1)]
    return {"image_f1": np.array([outlined.mean() if outlined.size else 0, 1])}  # the mean, and the number of images


def _reference_boundary_scores(sums: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {"mean_boundary_f1_reference": metrics.ratio(*sums["image_f1"])}


def _calibration_counts(logits: np.ndarray, prediction: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
    known = label != IGNORE
    return calibration.reliability(calibration.confidence(logits, prediction)[known], prediction[known] == label[known])._asdict()


def _calibration_scores(sums: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {"expected_calibration_error": calibration.expected_calibration_error(calibration.Reliability(**sums))}


BOUNDARIES = Measure(_boundary_counts, _boundary_scores)
"""`boundary_f1` of each class over the images that label it, `boundary_iou` of each class over all pixels, and their means."""

REFERENCE_BOUNDARIES = Measure(_reference_boundary_counts, _reference_boundary_scores)
"""`mean_boundary_f1_reference`, "BF" in SegNet's tables (Badrinarayanan et al. 2017, section 3.3, and its script).

Mean over the classes outlined in an image (in the label or the prediction), then over the images.
"""

CALIBRATION = Measure(_calibration_counts, _calibration_scores)
"""`expected_calibration_error` over the labelled pixels."""
