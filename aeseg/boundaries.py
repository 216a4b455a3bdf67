"""How well the borders of the classes are drawn, of one image, on the host.

Pixels labelled IGNORE belong to no class in either map, whatever was predicted there (as in Takikawa et al. 2019, Gated-SCNN).
Where a class meets them it has a border all the same, and a prediction that is right beside them has it, too.
"""

import math

import cv2
import numpy as np
from jaxtyping import Float, Int64, Integer, UInt8

from aeseg.types import IGNORE

TOLERANCE = 0.0075
"""Of the diagonal: how far two outlines may lie apart (Badrinarayanan et al. 2017, SegNet, section 3.3)."""
WIDTH = 0.02
"""Of the diagonal: the width of a band along the border (Cheng et al. 2021, arXiv 2103.16562, the authors' code)."""


def boundary_f1(prediction: Integer[np.ndarray, "h w"], label: Integer[np.ndarray, "h w"], classes: int) -> Float[np.ndarray, "{classes}"]:
    """F1 of each class's outline: do the outlines lie within TOLERANCE of one another? (Csurka et al. 2013).

    Precision is the share of the predicted outline that lies near the labelled one, recall the reverse.  An outline is the
    pixels of a class that touch another one with a side; the border of the image is no outline.  Deviation: the tolerance is
    rounded up to whole pixels and itself counts as near, as in the code of DAVIS (Perazzi et al. 2016).  NaN for a class that is
    not labelled in the image, or has an outline in neither map.
    """
    disc = _disc(math.ceil(TOLERANCE * math.hypot(*label.shape)))
    return np.array([_outline_f1(*_masks(prediction, label, index), disc) for index in range(classes)])


def boundary_overlap(
    prediction: Integer[np.ndarray, "h w"], label: Integer[np.ndarray, "h w"], classes: int
) -> Int64[np.ndarray, "2 {classes}"]:
    """Pixels of intersection and union of each class's bands; their ratio is Boundary IoU (Cheng et al. 2021).

    A band is what erosion by a 3x3 square takes from a class, done WIDTH times (rounded, at least once).  As in the authors' code
    the class ends at the border of the image.
    """
    width = max(1, round(WIDTH * math.hypot(*label.shape)))
    bands = ([_band(mask, width) for mask in _masks(prediction, label, index)] for index in range(classes))
    return np.array([(np.count_nonzero(a & b), np.count_nonzero(a | b)) for a, b in bands], np.int64).T


def _masks(prediction: np.ndarray, label: np.ndarray, index: int) -> tuple[UInt8[np.ndarray, "h w"], UInt8[np.ndarray, "h w"]]:
    """Where one class is predicted, and where it is labelled."""
    known = label != IGNORE
    return ((prediction == index) & known).astype(np.uint8), ((label == index) & known).astype(np.uint8)


def _outline_f1(predicted: np.ndarray, labelled: np.ndarray, disc: np.ndarray) -> float:
    if not labelled.any():
        return math.nan
    found, true = _outline(predicted), _outline(labelled)
    pixels = np.count_nonzero(found), np.count_nonzero(true)
    if not any(pixels):
        return math.nan
    near = np.count_nonzero(found & cv2.dilate(true, disc)), np.count_nonzero(true & cv2.dilate(found, disc))
    if not all(near):
        return 0.0
    precision, recall = near[0] / pixels[0], near[1] / pixels[1]
    return 2 * precision * recall / (precision + recall)


def _outline(mask: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    return mask - cv2.erode(mask, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))  # OpenCV erodes nothing from outside


def _band(mask: UInt8[np.ndarray, "h w"], width: int) -> UInt8[np.ndarray, "h w"]:
    square = np.ones((3, 3), np.uint8)
    return mask - cv2.erode(mask, square, iterations=width, borderType=cv2.BORDER_CONSTANT, borderValue=0)


def _disc(radius: int) -> UInt8[np.ndarray, "d d"]:
    """Every pixel at most `radius` from the middle; cv2's own ellipse is not quite round."""
    squares = np.square(np.arange(-radius, radius + 1))
    return (squares[:, None] + squares <= radius**2).astype(np.uint8)
