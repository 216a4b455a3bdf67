"""Files that are read and written again: bits, transparency and metadata, read back by Pillow, OpenCV and tifffile."""

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from aeseg.data import copies
from aeseg.types import UserError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (20, 30, 3)).astype(np.uint8)
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"


def exif():
    tags = Image.Exif()
    tags[0x010F], tags[0x0112] = "a camera", 6  # make, orientation
    tags.get_ifd(0x8769).update({0xA002: 30, 0xA003: 20})
    return tags


def again(path, factor=1):
    """Read a file, write its copy (with an image `factor` times larger) beside it, and return the path of the copy."""
    copy = copies.read(path)
    image = np.repeat(np.repeat(copy.image, factor, 0), factor, 1)
    copy = copies.enlarged(copy, image, factor)
    new = path.with_name("again" + copy.ending)
    copies.write(new, copy)
    return new


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_exif_and_profile_of_a_photograph_are_kept_byte_for_byte(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    Image.fromarray(RGB).save(path, exif=exif(), icc_profile=ICC, **({"lossless": True} if ending == "webp" else {}))
    new = again(path)
    assert new.suffix == ".png"
    with Image.open(path) as before, Image.open(new) as after:
        assert after.info["icc_profile"] == before.info["icc_profile"] == ICC
        assert dict(after.getexif()) == dict(before.getexif())
        assert after.getexif().get_ifd(0x8769) == before.getexif().get_ifd(0x8769)
        np.testing.assert_array_equal(after, before.convert("RGB"))  # as stored: Pillow does not turn by the tag


def test_xmp_of_a_jpeg_becomes_text_of_the_png(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.jpg", xmp=XMP)
    with Image.open(again(tmp_path / "a.jpg")) as after:
        assert after.info["xmp"] == XMP


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bits_stay_16_bits(tmp_path, channels):
    pixels = RNG.integers(0, 2**16, (20, 30, channels)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    after = cv2.imread(str(again(tmp_path / "a.png")), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(after.reshape(pixels.shape), pixels)


def test_transparency_is_kept_also_of_a_palette(tmp_path):
    rgba = np.concatenate([RGB, RNG.integers(0, 256, (20, 30, 1)).astype(np.uint8)], axis=-1)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    np.testing.assert_array_equal(Image.open(again(tmp_path / "a.png")), rgba)
    palette = Image.fromarray(RGB).quantize(8)
    palette.save(tmp_path / "b.png", transparency=2)
    with Image.open(tmp_path / "b.png") as before:
        np.testing.assert_array_equal(Image.open(again(tmp_path / "b.png")), before.convert("RGBA"))
    grey = rgba[..., 2:]  # grey and transparency: PNG by OpenCV has no two channels
    Image.fromarray(grey).save(tmp_path / "c.png")
    new = again(tmp_path / "c.png")
    assert new.suffix == ".tif"
    np.testing.assert_array_equal(tifffile.imread(new), grey)


def test_a_grey_file_stays_grey(tmp_path):
    Image.fromarray(RGB[..., 0]).save(tmp_path / "a.jpg", quality=95)
    copy = copies.read(tmp_path / "a.jpg")
    assert copy.image.shape == (20, 30, 3)
    with Image.open(again(tmp_path / "a.jpg")) as after, Image.open(tmp_path / "a.jpg") as before:
        assert after.mode == "L"
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_geotiff_keeps_grid_profile_and_texts(tmp_path, dtype):
    scale, tie = (33550, "d", 3, (10.0, 10.0, 0.0), True), (33922, "d", 6, (0.0, 0.0, 0.0, 5e5, 5.2e6, 0.0), True)
    keys = (34735, "H", 8, (1, 1, 0, 1, 1025, 0, 1, 1), True)
    rest = [(315, "s", 0, "an artist", True), (274, "H", 1, 3, True)]
    pixels = RNG.integers(0, np.iinfo(dtype).max, (20, 30, 3)).astype(dtype)
    how = {"photometric": "rgb", "iccprofile": ICC, "description": "a field", "metadata": None, "resolution": ((600, 7), (300, 1))}
    tifffile.imwrite(tmp_path / "a.tif", pixels, extratags=[scale, tie, keys, *rest], **how)
    with tifffile.TiffFile(tmp_path / "a.tif") as before, tifffile.TiffFile(again(tmp_path / "a.tif")) as after:
        for number in (270, 274, 282, 283, 315, 33550, 33922, 34735):
            assert after.pages[0].tags[number].value == before.pages[0].tags[number].value, number
        assert after.pages[0].iccprofile == ICC
        assert 305 not in after.pages[0].tags or after.pages[0].tags[305].value == before.pages[0].tags[305].value
        np.testing.assert_array_equal(after.asarray(), before.asarray())
    with tifffile.TiffFile(again(tmp_path / "a.tif", 2)) as twice:
        assert twice.pages[0].tags[33550].value == (5.0, 5.0, 0.0)
        assert twice.pages[0].shape == (40, 60, 3)


def test_an_enlarged_photograph_states_its_own_size(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.jpg", exif=exif())
    with Image.open(again(tmp_path / "a.jpg", 2)) as after:
        assert after.getexif().get_ifd(0x8769) == {0xA002: 60, 0xA003: 40}
        assert after.getexif()[0x010F] == "a camera"


def test_other_numbers_are_refused_and_damaged_files_named(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 4, 3), np.float32))
    with pytest.raises(UserError, match=r"a\.npy has float32; expected 8 or 16 bits without sign. Convert it."):
        copies.read(tmp_path / "a.npy")
    (tmp_path / "b.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(UserError, match="is not an image that can be read"):
        copies.read(tmp_path / "b.png")
