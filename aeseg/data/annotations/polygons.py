"""Draw polygons into labels."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from aeseg.types import UserError

_SHIFT = 4  # fractional bits of corners in cv2
_CORNERS = 1_000_000


def painted(label: UInt8[np.ndarray, "h w"], corners: Float[np.ndarray, "n 2"], index: int, name: str) -> UInt8[np.ndarray, "h w"]:
    """Return the label with a polygon filled with the class `index`.

    corners   x, y in pixels; 0 is the outer edge of the first pixel
    name      file name for the error of an invalid polygon
    """
    if corners.ndim != 2 or corners.shape[0] < 3 or corners.shape[1] != 2 or not np.isfinite(corners).all():
        raise UserError(f"{name} has a polygon of {len(corners)} corners; expected at least 3 pairs of finite numbers. Correct the file.")
    if len(corners) > _CORNERS:
        raise UserError(f"{name} has a polygon of {len(corners):,} corners; expected at most {_CORNERS:,}. Correct the file.")
    h, w = label.shape
    centred = np.clip(corners, [-4 * w, -4 * h], [4 * w, 4 * h]) - 0.5  # cv2's corners are pixel centres
    fixed = np.rint(centred * (1 << _SHIFT)).astype(np.int32)
    filled = label.copy()
    cv2.fillPoly(filled, [fixed], index, lineType=cv2.LINE_8, shift=_SHIFT)
    return filled
