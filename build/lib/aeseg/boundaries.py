"""Boundary metrics of one image, on the host.

Unless stated otherwise, pixels labelled IGNORE belong to no class in either map, whatever was predicted there (as in Takikawa et
al. 2019, Gated-SCNN). A class has a boundary where it meets them, and so has a correct prediction.
"""

import itertools
import math

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int64, Integer, UInt8

from aeseg.types import IGNORE

TOLERANCE = 0.0075
"""Largest outline distance, relative to the diagonal (Badrinarayanan et al. 2017, SegNet, section 3.3)."""
WIDTH = 0.02
"""Width of a band along the boundary, relative to the diagonal (Cheng et al. 2021, arXiv 2103.16562, the authors' code)."""


def boundary_f1(prediction: Integer[np.ndarray, "h w"], label: Integer[np.ndarray, "h w"], classes: int) -> Float[np.ndarray, "{classes}"]:
    """F1 of each class's outline, matched within TOLERANCE (Csurka et al. 2013).

    Precision is the fraction of the predicted outline that lies near the labelled one; recall is the reverse. An outline holds
    the pixels of a class that share a side with another class; the edge of the image is not an outline. Deviation: the
    tolerance is rounded up to whole pixels and is inclusive, as in the code of DAVIS (Perazzi et al. 2016). NaN for a class that
    is not labelled in the image, or that has an outline in neither map.
    """
    disc = _disc(math.ceil(TOLERANCE * math.hypot(*label.shape)))
    return np.array([_outline_f1(*_masks(prediction, label, index), disc) for index in range(classes)])


def reference_boundary_f1(
    prediction: Integer[np.ndarray, "h w"], label: Integer[np.ndarray, "h w"], classes: int
) -> Float[np.ndarray, "{classes}"]:
    """F1 of each class's outline by the rules of SegNet's own script (computeBFmeasure.m of its tutorial): "BF" in its tables.

    An outline holds every pixel that differs from its neighbour below, right or diagonally between (seg2bdry of the Berkeley
    benchmark). Outlines are matched one to one within TOLERANCE, which is not rounded. Deviation: the matching has the most pairs;
    the script's (correspondPixels) has the least cost, where an unmatched pixel costs a hundred times the farthest pair.
    Predictions on void pixels count. NaN if neither map outlines the class, 0 if only one does. The time grows fast with the size
    of the image.
    """
    tolerance = TOLERANCE * math.hypot(*label.shape)
    outlines = ([_reference_outline(one == index) for one in (prediction, label)] for index in range(classes))
    return np.array([_matched_f1(predicted, true, tolerance) for predicted, true in outlines])


def boundary_overlap(
    prediction: Integer[np.ndarray, "h w"], label: Integer[np.ndarray, "h w"], classes: int
) -> Int64[np.ndarray, "2 {classes}"]:
    """Intersection and union, in pixels, of each class's bands; their ratio is Boundary IoU (Cheng et al. 2021).

    A band holds the pixels that repeated erosion by a 3x3 square removes from a class: WIDTH times the diagonal, rounded, at
    least once. As in the authors' code, the class ends at the edge of the image.
    """
    width = max(1, round(WIDTH * math.hypot(*label.shape)))
    bands = ([_band(mask, width) for mask in _masks(prediction, label, index)] for index in range(classes))
    return np.array([(np.count_nonzero(a & b), np.count_nonzero(a | b)) for a, b in bands], np.int64).T


def _masks(prediction: np.ndarray, label: np.ndarray, index: int) -> tuple[UInt8[np.ndarray, "h w"], UInt8[np.ndarray, "h w"]]:
    """Mark where one class is predicted, and where it is labelled."""
    known = label != IGNORE
    return ((prediction == index) & known).astype(np.uint8), ((label == index) & known).astype(np.uint8)


def _outline_f1(predicted: np.ndarray, labelled: np.ndarray, disc: np.ndarray) -> float:
    if not labelled.any():
        return math.nan
    drawn, true = _outline(predicted), _outline(labelled)
    pixels = np.count_nonzero(drawn), np.count_nonzero(true)
    if not any(pixels):
        return math.nan
    near = np.count_nonzero(drawn & cv2.dilate(true, disc)), np.count_nonzero(true & cv2.dilate(drawn, disc))
    if not all(near):
        return 0.0
    precision, recall = near[0] / pixels[0], near[1] / pixels[1]
    return 2 * precision * recall / (precision + recall)


def _matched_f1(predicted: Bool[np.ndarray, "h w"], true: Bool[np.ndarray, "h w"], tolerance: float) -> float:
    pixels = np.count_nonzero(predicted) + np.count_nonzero(true)
    return 2 * _pairs(predicted, true, tolerance) / pixels if pixels else math.nan  # 2 p r / (p + r): p and r count the same pairs


def _pairs(one: Bool[np.ndarray, "h w"], other: Bool[np.ndarray, "h w"], tolerance: float) -> int:
    """Count the largest set of one-to-one pairs of pixels, one from each map, at most `tolerance` apart."""
    from scipy.sparse import csr_array  # slow import that few runs need
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
    """Mark the pixels that differ from a neighbour below, to the right or diagonally between."""
    beyond = np.pad(mask, ((0, 1), (0, 1)), "edge")
    four = beyond[:-1, :-1], beyond[1:, :-1], beyond[:-1, 1:], beyond[1:, 1:]
    return np.logical_or.reduce(four) & ~np.logical_and.reduce(four)


def _outline(mask: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    return mask - cv2.erode(mask, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))  # the outside does not erode


def _band(mask: UInt8[np.ndarray, "h w"], width: int) -> UInt8[np.ndarray, "h w"]:
    square = np.ones((3, 3), np.uint8)
    return mask - cv2.erode(mask, square, iterations=width, borderType=cv2.BORDER_CONSTANT, borderValue=0)


def _disc(radius: int) -> UInt8[np.ndarray, "d d"]:
    """Return a disc: every pixel at most `radius` from the centre. cv2's ellipse is not quite round."""
    squares = np.square(np.arange(-radius, radius + 1))
    return (squares[:, None] + squares <= radius**2).astype(np.uint8)
