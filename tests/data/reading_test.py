"""16-bit images keep their depth from the file to the network."""

import jax.numpy as jnp
import numpy as np
import pytest
import tifffile
from PIL import Image

from aeseg import images
from aeseg.data import decode
from aeseg.data.colours import LocalContrast, PhotometricJitter
from aeseg.data.planes import Stack
from aeseg.data.reading import Reading
from aeseg.data.records import check
from aeseg.data.sources.folder import Folder
from aeseg.data.statistics import channel_statistics
from aeseg.data.transforms import RandomScale
from aeseg.inference import draw

RNG = np.random.default_rng(0)


@pytest.fixture
def scan(tmp_path):
    """Make two 16-bit grey images: one uses all bits, one a narrow range."""
    (tmp_path / "images").mkdir()
    pixels = RNG.integers(30_000, 30_200, (2, 8, 8)).astype(np.uint16)
    pixels[:, 0, 0] = 65_535
    for name, one in zip("ab", pixels, strict=True):
        Image.fromarray(one).save(tmp_path / "images" / f"{name}.png")
    return tmp_path, pixels


def test_a_16_bit_image_reaches_the_network_with_all_its_levels(scan):
    root, pixels = scan
    source = Folder(root=str(root), labels="", channels=1)
    record = check(source[0])
    assert record["image"].dtype == np.uint16
    np.testing.assert_array_equal(record["image"][..., 0], pixels[0])
    np.testing.assert_allclose(images.as_float(jnp.asarray(record["image"]))[..., 0], pixels[0] / 65535, rtol=1e-6)
    eight = Folder(root=str(root), labels="", channels=1, bits=8)[0]["image"]
    assert (eight.dtype, len(np.unique(eight))) == (np.uint8, 3), "8 bits would leave 2 of the 200 levels"


def test_8_bit_images_stay_in_8_bits(tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (4, 4), (1, 2, 3)).save(tmp_path / "images" / "a.png")
    assert Folder(root=str(tmp_path), labels="")[0]["image"].dtype == np.uint8


def test_an_8_bit_image_among_16_bit_ones_has_the_same_brightness(scan):
    root, _ = scan
    Image.fromarray(np.full((8, 8), 51, np.uint8)).save(root / "images" / "c.png")
    image = Folder(root=str(root), labels="", channels=1)[2]["image"]
    assert image.dtype == np.uint16
    np.testing.assert_allclose(image / 65535, 51 / 255)


def test_floats_with_a_range_have_65536_levels(tmp_path):
    values = np.linspace(-1, 3, 64, dtype=np.float32).reshape(8, 8)
    tifffile.imwrite(tmp_path / "a.tif", values)
    image = decode.image(tmp_path / "a.tif", 1, reading=Reading(value_range=(-1.0, 3.0), bits=16))
    np.testing.assert_allclose(image[..., 0] / 65535, (values + 1) / 4, atol=0.51 / 65535)


def test_statistics_of_16_bit_images_equal_numpy(scan):
    root, pixels = scan
    statistics = channel_statistics(Folder(root=str(root), labels="", channels=1))
    np.testing.assert_allclose(statistics.mean, np.mean(pixels / 65535), rtol=1e-9)
    np.testing.assert_allclose(statistics.std, np.std(pixels / 65535), rtol=1e-9)


def test_transforms_support_16_bits():
    record = {"image": RNG.integers(0, 65536, (16, 16, 3)).astype(np.uint16), "depth": RNG.random((16, 16), np.float32)}
    scaled = RandomScale(low=0.5, high=0.5)(record, RNG)["image"]
    assert scaled.dtype == np.uint16
    np.testing.assert_allclose(scaled.mean(), record["image"].mean(), rtol=0.01)
    stacked = Stack("depth")(record, RNG)["image"]
    np.testing.assert_allclose(stacked[..., 3] / 65535, record["depth"], atol=1e-5)
    for change in (PhotometricJitter(0.0, 0.0, 0.0, 0.0), LocalContrast(2.0)):
        wide = change(record, np.random.default_rng(1))["image"].astype(int)
        narrow = change({"image": draw.as_rgb(record["image"])}, np.random.default_rng(1))["image"].astype(int)
        assert np.abs(wide - narrow).max() <= 1, "the 8-bit image of the same picture, within rounding"
