import numpy as np
import pytest

from aeseg.data.annotations.polygons import painted
from aeseg.types import UserError


def test_corners_are_edges_of_pixels_and_may_lie_outside():
    blank = np.zeros((4, 6), np.uint8)
    square = np.array([[1.0, 1.0], [3.0, 1.0], [3.0, 3.0], [1.0, 3.0]])
    label = painted(blank, square, 7, "a")
    assert label[1:3, 1:3].tolist() == [[7, 7], [7, 7]]
    assert blank.max() == 0
    assert (painted(blank, square * 1e9 - 2e9, 1, "a") == 1).all()


@pytest.mark.parametrize("corners", [np.zeros((2, 2)), np.full((3, 2), np.nan)])
def test_invalid_polygons_are_refused(corners):
    with pytest.raises(UserError, match="at least 3 pairs of finite numbers"):
        painted(np.zeros((4, 4), np.uint8), corners, 1, "a")
