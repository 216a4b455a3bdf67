import numpy as np
import pytest
import tifffile

from aeseg.data.modalities import aligned
from aeseg.data.reading import AS_STORED, Reading
from aeseg.types import UserError
from tests.data.modalities import cases


def reader(root, described="thermal", reading=AS_STORED):
    return aligned.reader(str(root), described, cases.STEMS, reading)


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint8), (3, np.uint8), (1, np.uint16)])
def test_planes_keep_their_stored_values(tmp_path, channels, dtype):
    pixels = {name: cases.write(tmp_path / f"thermal/{name}.png", cases.picture(6, 8, channels, dtype)) for name in cases.NAMES}
    ours = reader(tmp_path)
    for name, expected in pixels.items():
        found = cases.read(ours, name)
        assert found.keys() == {"thermal", "has_thermal"}
        np.testing.assert_array_equal(found["thermal"], expected)
        assert found["thermal"].dtype == dtype
        assert found["has_thermal"].dtype == bool
        assert found["has_thermal"]
    assert ours.notes == ()


def test_a_record_without_a_file_has_zeros_of_the_folders_kind_and_says_so(tmp_path):
    cases.write(tmp_path / "thermal/b.png", cases.picture(6, 8, 3))
    found = cases.read(reader(tmp_path), "a", 5, 7)
    np.testing.assert_array_equal(found["thermal"], np.zeros((5, 7, 3), np.uint8))
    assert found["thermal"].dtype == np.uint8
    assert not found["has_thermal"]


def test_numbers_of_other_types_become_float32(tmp_path):
    (tmp_path / "depth").mkdir()
    metres = cases.RNG.normal(size=(6, 8))
    np.save(tmp_path / "depth/a.npy", metres)
    tifffile.imwrite(tmp_path / "depth/b.tif", np.arange(48, dtype=np.int32).reshape(6, 8))
    ours = reader(tmp_path, "depth")
    np.testing.assert_array_equal(cases.read(ours)["depth"], metres.astype(np.float32))
    np.testing.assert_array_equal(cases.read(ours, "b")["depth"], np.arange(48).reshape(6, 8))
    assert cases.read(ours, "b")["depth"].dtype == np.float32


def test_transparency_is_left_out_and_a_folder_may_have_another_name(tmp_path):
    pixels = cases.write(tmp_path / "sensors/t/a.png", cases.picture(6, 8, 4))
    ours = reader(tmp_path, "heat=sensors/t")
    assert ours.key == "heat"
    np.testing.assert_array_equal(cases.read(ours)["heat"], pixels[..., :3])


def test_planes_turn_as_their_image_does(tmp_path):
    pixels = cases.picture(6, 8, 1)
    (tmp_path / "thermal").mkdir()
    tifffile.imwrite(tmp_path / "thermal/a.tif", pixels, extratags=[(274, "H", 1, 6, True)])
    np.testing.assert_array_equal(cases.read(reader(tmp_path))["thermal"], pixels)
    turned = cases.read(reader(tmp_path, reading=Reading(orientation="apply")), "a", 8, 6)["thermal"]
    np.testing.assert_array_equal(turned, np.rot90(pixels, -1))


def test_what_does_not_fit_is_named(tmp_path):
    cases.write(tmp_path / "thermal/a.png", cases.picture())
    cases.write(tmp_path / "thermal/b.png", cases.picture(channels=1))
    ours = reader(tmp_path)
    with pytest.raises(UserError, match=r"thermal/b.png has planes of 1 x uint8, and thermal/a.png of 3 x uint8"):
        cases.read(ours, "b")
    with pytest.raises(UserError, match=r"images/a.png is 5x8 \(height x width\) and thermal/a.png is 6x8"):
        cases.read(ours, "a", 5, 8)
    np.save(tmp_path / "thermal/b.npy", np.full((6, 8), np.nan))
    (tmp_path / "thermal/a.png").unlink()
    (tmp_path / "thermal/b.png").unlink()
    with pytest.raises(UserError, match=r"thermal/b.npy has 48 values that are not finite"):
        cases.read(reader(tmp_path), "b")
    for described in ("label=thermal", "has_it=thermal", "two words=thermal"):
        with pytest.raises(UserError, match=f"aligned names folders by words other than image, label.*got '{described}'"):
            reader(tmp_path, described)
