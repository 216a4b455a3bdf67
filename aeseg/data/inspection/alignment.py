"""Alignment of planes with the labels: how much stronger edges are at the outlines of the label than elsewhere."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Shaped

from aeseg.data.planes import has
from aeseg.data.sources.folder import Folder
from aeseg.data.survey import spread
from aeseg.types import IGNORE

MOST = 100
"""Records to read."""

NEAR = 3
"""Pixels around an outline."""

WEAK = 0.1
"""Fraction of the images' value below which planes are warned of."""


def lines(source: Folder) -> list[str]:
    """Return a line about the edges of images and planes, and a warning for planes without edges at the outlines."""
    if not (source.planes and source.classes):
        return []
    found = measured(source)
    if not found:
        return []
    listed = ", ".join(f"{key} {value:.2f}" for key, value in found.items())
    told = [f"edges at label outlines minus those at outlines of another label, in standard deviations: {listed}"]
    for key, value in found.items():
        if key != "image" and value < WEAK * found["image"]:
            told.append(f"Warning: {key} has hardly any edges at the label outlines; it may not be aligned, or not show the classes")
    return told


def measured(source: Folder) -> dict[str, float]:
    """Return the mean over records of `edges` near the label's outline, minus near the outline of the next read label of that size."""
    values: dict[str, list[float]] = {key: [] for key in ("image", *source.planes)}
    before: dict[tuple[int, ...], Bool[np.ndarray, "h w"]] = {}
    for index in spread(range(len(source)), MOST):
        record = source[index]
        near = near_outline(record["label"])
        other = before.get(near.shape)
        if not near.any():
            continue
        before[near.shape] = near
        if other is not None:
            for key in values:
                if has(record, key):
                    strength = edges(record[key])
                    values[key].append(float(strength[near].mean() - strength[other].mean()))
    return {key: float(np.mean(each)) for key, each in values.items() if each}


def edges(pixels: Shaped[np.ndarray, "h w ..."]) -> Float[np.ndarray, "h w"]:
    """Return the length of the gradient of the channels' mean, smoothed by a Gaussian of 1.5 pixels; mean 0 and variance 1.

    Values above the 99th percentile are cut; a constant plane has zeros.
    """
    grey = cv2.GaussianBlur(pixels.reshape(*pixels.shape[:2], -1).astype(np.float32).mean(axis=-1), (0, 0), 1.5)
    length = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    length = np.minimum(length, np.percentile(length, 99))
    return (length - length.mean()) / max(float(length.std()), 1e-6)


def near_outline(label: Shaped[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Return which pixels are at most NEAR pixels from one whose right or lower neighbour has another class; IGNORE has no outline."""
    outline = np.zeros(label.shape, bool)
    for first, second in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        outline[first] |= (label[first] != label[second]) & (label[first] != IGNORE) & (label[second] != IGNORE)
    return cv2.distanceTransform(np.asarray(~outline, np.uint8), cv2.DIST_L2, 5) <= NEAR if outline.any() else outline
