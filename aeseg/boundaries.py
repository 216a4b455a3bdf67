"""How well the borders of the classes are drawn, of one image, on the host.

Unless said otherwise, pixels labelled IGNORE belong to no class in either map, whatever was predicted there (as in Takikawa et al.
2019, Gated-SCNN).
Where a class meets them it has a border all the same, and a prediction that is right beside them has it, too.
"""

import itertools
import math

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int64, Integer, UInt8

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


def reference_boundary_f1(
    prediction: Integer[np.ndarray, "h w"], label: Integer[np.ndarray, "h w"], classes: int
) -> Float[np.ndarray, "{classes}"]:
    """F1 of each class's outline by the rules of SegNet's own script (computeBFmeasure.m of its tutorial): "BF" in its tables.

    An outline is every pixel that differs from the one below, to the right or between (seg2bdry of the Berkeley benchmark).  Outlines
    are matched one to one within TOLERANCE, which is not rounded; here as many pairs as there can be, there (correspondPixels) at the
    least cost, where a pixel left alone costs a hundred times what the farthest pair does.  What is predicted on void pixels counts.
    NaN for a class without an outline in either map; 0 where one map alone has one.  Its time grows fast with the image's size.
    """
    tolerance = TOLERANCE * math.hypot(*label.shape)
    outlines = ([_reference_outline(one == index) for one in (prediction, label)] for index in range(classes))
    return np.array([_matched_f1(found, true, tolerance) for found, true in outlines])


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


def _matched_f1(found: Bool[np.ndarray, "h w"], true: Bool[np.ndarray, "h w"], tolerance: float) -> float:
    pixels = np.count_nonzero(found) + np.count_nonzero(true)
    return 2 * _pairs(found, true, tolerance) / pixels if pixels else math.nan  # 2 p r / (p + r), where both count the same pairs


def _pairs(one: Bool[np.ndarray, "h w"], other: Bool[np.ndarray, "h w"], tolerance: float) -> int:
    """How many pixels of one map can be paired with one each of the other at most `tolerance` away."""
    from scipy.sparse import csr_array  # here, since few runs need it
    from scipy.sparse.csgraph import maximum_bipartite_matching

    reach = math.floor(tolerance)
    numbers = np.full(other.shape, -1)
    numbers[other] = np.arange(np.count_nonzero(other))
    numbers = np.pad(numbers, reach, constant_values=-1)
    rows, columns = np.nonzero(one)
    edges = []
    for down, right in itertools.product(range(-reach, reach + 1), repeat=2):
        if down**2 + right**2 <= tolerance**2:
            near = numbers[rows + reach + down, columns + reach + right]
            edges.append(np.stack([np.flatnonzero(near >= 0), near[near >= 0]]))
    which = np.concatenate(edges, axis=1)
    graph = csr_array((np.ones(which.shape[1], bool), which), (len(rows), np.count_nonzero(other)))
    return int(np.count_nonzero(maximum_bipartite_matching(graph) >= 0))


def _reference_outline(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Where a pixel and its neighbours below, to the right and between, as far as there are any, are not all alike."""
    beyond = np.pad(mask, ((0, 1), (0, 1)), "edge")
    four = beyond[:-1, :-1], beyond[1:, :-1], beyond[:-1, 1:], beyond[1:, 1:]
    return np.logical_or.reduce(four) & ~np.logical_and.reduce(four)


def _outline(mask: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    return mask - cv2.erode(mask, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))  # OpenCV erodes nothing from outside


def _band(mask: UInt8[np.ndarray, "h w"], width: int) -> UInt8[np.ndarray, "h w"]:
    square = np.ones((3, 3), np.uint8)
    return mask - cv2.erode(mask, square, iterations=width, borderType=cv2.BORDER_CONSTANT, borderValue=0)


def _disc(radius: int) -> UInt8[np.ndarray, "d d"]:
    """Every pixel at most `radius` from the middle; cv2's own ellipse is not quite round."""
    squares = np.square(np.arange(-radius, radius + 1))
    return (squares[:, None] + squares <= radius**2).astype(np.uint8)
