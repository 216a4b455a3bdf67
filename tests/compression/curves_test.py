import math

import bjontegaard
import pytest

from aeseg.compression.curves import bjontegaard as difference

ANCHOR = [(1.1, 41.0), (0.52, 38.1), (0.27, 35.2), (0.16, 32.4)]
TESTED = [(0.9, 40.8), (0.4, 37.5), (0.2, 34.0), (0.11, 31.0), (0.06, 28.7)]


@pytest.mark.parametrize(("anchor", "tested"), [(ANCHOR, TESTED), (TESTED, ANCHOR), (ANCHOR, TESTED[:2])])
def test_it_is_the_difference_of_the_package_bjontegaard(anchor, tested):
    columns = [list(column) for curve in (anchor, tested) for column in zip(*sorted(curve), strict=True)]
    expected = bjontegaard.bd_rate(*columns, method="pchip", require_matching_points=False, min_overlap=0)
    assert difference(anchor, tested) == pytest.approx(expected, rel=1e-9)
    assert abs(expected) > 5


def test_files_half_as_large_at_every_quality_save_50_percent():
    assert difference(ANCHOR, [(rate / 2, quality) for rate, quality in ANCHOR]) == pytest.approx(-50)


def test_curves_without_a_common_quality_or_of_one_point_have_no_difference():
    assert math.isnan(difference(ANCHOR, [(rate, quality - 20) for rate, quality in ANCHOR]))
    assert math.isnan(difference(ANCHOR, TESTED[:1]))
    assert not math.isnan(difference([*ANCHOR, (9.0, 41.0)], TESTED))
