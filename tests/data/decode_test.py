import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from aeseg.data import decode
from aeseg.types import UserError

RNG = np.random.default_rng(0)
COLOURS = cv2.GaussianBlur(RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8), (5, 5), 0)
IDS = RNG.integers(0, 12, (20, 30), dtype=np.uint8)


def written(pixels, kind, mode="", **settings):
    """The bytes that Pillow writes."""
    file = io.BytesIO()
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(file, kind, **settings)
    return file.getvalue()


def shown(data, mode="RGB"):
    """What Pillow reads: the independent reader."""
    return np.asarray(Image.open(io.BytesIO(data)).convert(mode))


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *[(kind, "RGB") for kind in ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP")],
        *[(kind, "L") for kind in ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP")],
        *[(kind, "1") for kind in ("PNG", "TIFF", "GIF", "BMP")],
        *[(kind, "P") for kind in ("PNG", "TIFF", "GIF", "BMP")],
        *[(kind, "RGBA") for kind in ("PNG", "TIFF", "WEBP")],
        ("PNG", "LA"),
    ],
)
def test_every_kind_of_file_reads_as_pillow_shows_it(kind, mode):
    data = written(COLOURS, kind, mode)
    image = decode.image(data)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, shown(data))
    assert decode.image(data, channels=1).shape == (20, 30, 1)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(kind):
    data = written(COLOURS, kind, "CMYK")
    np.testing.assert_allclose(decode.image(data).astype(int), shown(data), atol=1)  # two CMYK formulas, rounded apart


def test_alpha_is_dropped_and_not_blended():
    pixels = np.dstack([COLOURS, np.zeros((20, 30), np.uint8)])
    np.testing.assert_array_equal(decode.image(written(pixels, "PNG")), COLOURS)


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_16_bits_become_8_by_257_and_keep_the_order_of_colours(ending):
    pixels = RNG.integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    pixels[0, 0], pixels[0, 1] = 65535, 0
    data = cv2.imencode(ending, pixels[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(decode.image(data), np.round(pixels / 257))
    grey = cv2.imencode(ending, pixels[..., 0])[1].tobytes()
    np.testing.assert_array_equal(decode.image(grey), np.round(pixels[..., :1] / 257).repeat(3, -1))
    np.testing.assert_array_equal(decode.label(grey), pixels[..., 0])


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_the_exif_orientation_is_ignored_for_images_and_labels(kind, turn):
    exif = Image.Exif()
    exif[0x112] = turn
    plain = COLOURS if kind == "PNG" or kind == "TIFF" else shown(written(COLOURS, kind))
    data = written(COLOURS, kind, exif=exif)
    np.testing.assert_array_equal(decode.image(data), plain)
    np.testing.assert_array_equal(decode.label(data), plain)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "GIF", "BMP"])
def test_grey_labels_are_their_numbers(kind):
    np.testing.assert_array_equal(decode.label(written(IDS, kind)), IDS)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF"])
def test_palette_labels_are_indices_not_colours(kind):
    picture = Image.fromarray(IDS, "L").copy()
    picture.putpalette(RNG.integers(0, 256, 768, dtype=np.uint8).tobytes())
    file = io.BytesIO()
    picture.save(file, kind, **({"optimize": False} if kind == "GIF" else {}))
    assert Image.open(io.BytesIO(file.getvalue())).mode == "P"
    np.testing.assert_array_equal(decode.label(file.getvalue()), IDS)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_labels_of_few_bits_are_not_stretched(bits):
    ids = RNG.integers(0, 2**bits, (8, 16), dtype=np.uint8)

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + np.packbits(np.unpackbits(row[:, None], axis=1)[:, -bits:].ravel()).tobytes() for row in ids)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 8, bits, 0, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    np.testing.assert_array_equal(decode.label(data), ids)


def test_colour_labels_stay_colours():
    np.testing.assert_array_equal(decode.label(written(COLOURS, "PNG")), COLOURS)
    np.testing.assert_array_equal(decode.label(written(COLOURS, "PNG", "RGBA")), COLOURS)


def test_a_mask_counts_a_palette_by_its_colours_and_one_bit_as_0_and_255():
    truth = IDS > 5
    np.testing.assert_array_equal(decode.mask(written((truth * 255).astype(np.uint8), "GIF")), truth)
    np.testing.assert_array_equal(decode.mask(written((truth * 255).astype(np.uint8), "PNG", "1")), truth)
    picture = Image.fromarray(truth.astype(np.uint8)).copy()
    picture.putpalette([0, 0, 0, 255, 255, 255])
    file = io.BytesIO()
    picture.save(file, "PNG")
    np.testing.assert_array_equal(decode.mask(file.getvalue()), truth)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("part", [0.5, 0.9])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")  # Pillow, of the truncated TIFF
def test_a_truncated_file_is_named(tmp_path, kind, part, capfd):
    data = written(cv2.resize(COLOURS, (200, 200)), kind)
    file = tmp_path / f"street.{kind.lower()}"
    file.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(UserError, match=f"street.{kind.lower()} is"):
        decode.image(file)
    with pytest.raises(UserError, match=f"street.{kind.lower()} is"):
        decode.label(file)
    assert capfd.readouterr().err == ""  # the decoders keep quiet


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "notes.png").write_text("not an image")
    (tmp_path / "empty.png").touch()
    with pytest.raises(UserError, match=r"notes.png is not an image that can be read .*\.webp"):
        decode.image(tmp_path / "notes.png")
    with pytest.raises(UserError, match=r"empty.png is empty \(0 bytes\)"):
        decode.image(tmp_path / "empty.png")
    with pytest.raises(UserError, match=r"Cannot read .*absent.png: No such file"):
        decode.label(tmp_path / "absent.png")
    with pytest.raises(UserError, match=r"an image without a name|0042 is not an image"):
        decode.image(b"junk", name="0042")
    with pytest.raises(UserError, match="1 or 3 channels; got channels=4"):
        decode.image(written(COLOURS, "PNG"), channels=4)


def test_floating_point_is_refused_with_its_name():
    data = written(np.zeros((4, 4), np.float32), "TIFF")
    with pytest.raises(UserError, match=r"depth.tif has float32"):
        decode.image(data, name="depth.tif")
    with pytest.raises(UserError, match=r"depth.tif is of mode F"):
        decode.label(data, name="depth.tif")
