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
