import numpy as np
import pytest
import tifffile
from PIL import Image

from aeseg.data import georeference
from aeseg.types import UserError

PLACE = [
    (33550, "d", 3, (0.5, 0.5, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 389400.0, 5820300.0, 0.0), True),
    (34735, "H", 8, (1, 1, 0, 1, 3072, 0, 1, 32633), True),
    (34737, "s", 0, "WGS 84 / UTM zone 33N|", True),
]


def test_a_label_has_the_georeference_of_its_image(tmp_path):
    tifffile.imwrite(tmp_path / "scene.tif", np.zeros((20, 30, 4), np.uint16), photometric="minisblack", extratags=PLACE)
    label = np.arange(600, dtype=np.int64).reshape(20, 30).astype(np.uint8)
    georeference.write(tmp_path / "label.tif", label, georeference.tags(tmp_path / "scene.tif"))
    with Image.open(tmp_path / "label.tif") as written:  # an independent reader
        np.testing.assert_array_equal(np.asarray(written), label)
        for number, _, _, values, _ in PLACE:
            assert written.tag_v2[number] == values
    assert georeference.tags(tmp_path / "label.tif") == georeference.tags(tmp_path / "scene.tif")


def test_files_without_a_georeference_have_no_tags(tmp_path):
    tifffile.imwrite(tmp_path / "plain.tif", np.zeros((4, 4), np.uint8))
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    assert georeference.tags(tmp_path / "plain.tif") == georeference.tags(tmp_path / "a.png") == ()
    (tmp_path / "bad.tif").write_bytes(b"II*\0\xff\xff\xff\x7f")
    with pytest.raises(UserError, match=r"bad.tif is damaged"):
        georeference.tags(tmp_path / "bad.tif")


@pytest.mark.parametrize("raster", [1, 2])
def test_an_enlarged_grid_covers_the_same_area(raster):
    keys = georeference.Tag(34735, "H", (1, 1, 0, 1, 1025, 0, 1, raster))
    scale, tie = georeference.Tag(33550, "d", (10.0, 20.0, 0.0)), georeference.Tag(33922, "d", (2.0, 3.0, 0.0, 500.0, 900.0, 0.0))
    matrix = georeference.Tag(34264, "d", (10.0, 1.0, 0.0, 500.0, 2.0, -20.0, 0.0, 900.0, *(0.0,) * 7, 1.0))

    def by_tie(tags, u, v):
        """Map corner coordinates of the raster to the ground, as GeoTIFF 1.1, section 7.1.2.5.1, does."""
        (sx, sy, _), (i, j, _, x, y, _) = tags[1].values, tags[2].values
        half = 0.5 if raster == 2 else 0.0
        return x + (u - half - i) * sx, y - (v - half - j) * sy

    def by_matrix(tags, u, v):
        a, b, _, d, e, f, _, h = tags[3].values[:8]
        half = 0.5 if raster == 2 else 0.0
        return a * (u - half) + b * (v - half) + d, e * (u - half) + f * (v - half) + h

    before = (keys, scale, tie, matrix)
    after = georeference.enlarged(before, 3)
    assert after[0] == keys
    for ground in (by_tie, by_matrix):
        for u, v in ((0, 0), (7, 5), (2.5, 3.25)):
            np.testing.assert_allclose(ground(after, 3 * u, 3 * v), ground(before, u, v))
