import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from aeseg.data import decode
from aeseg.data.decode import Reading
from aeseg.data.reading import of_description
from aeseg.types import UserError

RNG = np.random.default_rng(0)
COLOURS = cv2.GaussianBlur(RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8), (5, 5), 0)
IDS = RNG.integers(0, 12, (20, 30), dtype=np.uint8)


def written(pixels, kind, mode="", **settings):
    """Return the bytes that Pillow writes."""
    file = io.BytesIO()
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(file, kind, **settings)
    return file.getvalue()


def shown(data, mode="RGB"):
    """Return the array that Pillow, an independent reader, reads."""
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
def test_every_kind_of_file_is_read_as_by_pillow(kind, mode):
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


def test_a_mask_reads_a_palette_by_its_colours_and_one_bit_as_0_and_255():
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
    assert capfd.readouterr().err == ""  # the decoders print nothing


def test_a_file_that_is_not_an_image_is_named(tmp_path):
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
    with pytest.raises(UserError, match=r"has 3 channels; channels=4 was asked for. Set channels=3 to read all\.$"):
        decode.image(written(COLOURS, "PNG"), channels=4)
    with pytest.raises(UserError, match="at least 1 channel; got channels=0"):
        decode.image(written(COLOURS, "PNG"), channels=0)


def tiff(pixels, **settings):
    """Return the bytes that tifffile writes."""
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **settings)
    return file.getvalue()


@pytest.mark.parametrize("bands", [2, 4, 6, 13])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_a_tiff_with_any_number_of_bands_is_read_completely_or_refused(bands, planar):
    pixels = RNG.integers(0, 256, (10, 12, bands), dtype=np.uint8)
    data = tiff(pixels if planar == "contig" else pixels.transpose(2, 0, 1), photometric="minisblack", planarconfig=planar)
    np.testing.assert_array_equal(decode.image(data, bands), pixels)
    np.testing.assert_array_equal(decode.image(data, 2, reading=Reading(bands=(1, 0))), pixels[..., [1, 0]])
    with pytest.raises(UserError, match=rf"b.tif has {bands} channels; channels=3 was asked for. Set channels={bands} to read all"):
        decode.image(data, 3, "b.tif")
    with pytest.raises(UserError, match=rf"got bands=\(0, 1, 99\) for channels=3. Name 3 of 0..{bands - 1}"):
        decode.image(data, 3, reading=Reading(bands=(0, 1, 99)))


def test_several_pages_are_a_question():
    pixels = RNG.integers(0, 256, (3, 10, 12), dtype=np.uint8)
    data = tiff(pixels, photometric="minisblack")
    with pytest.raises(UserError, match=r"has 3 pages. Set pages='channels' .* or to the number of the page to read"):
        decode.image(data)
    np.testing.assert_array_equal(decode.image(data, 3, reading=Reading(pages="channels")), pixels.transpose(1, 2, 0))
    np.testing.assert_array_equal(decode.image(data, 1, reading=Reading(pages="2"))[..., 0], pixels[2])
    np.testing.assert_array_equal(decode.stored(data, reading=Reading(pages="1")).values, pixels[1])
    with pytest.raises(UserError, match="has 3 pages; a label has one"):
        decode.stored(data)
    with pytest.raises(UserError, match="has 3 pages, from 0; got pages=3"):
        decode.image(data, reading=Reading(pages="3"))
    animation = io.BytesIO()
    first, second = (Image.fromarray(COLOURS // (1 + part)) for part in range(2))
    first.save(animation, "GIF", save_all=True, append_images=[second])
    with pytest.raises(UserError, match="has 2 pages"):
        decode.image(animation.getvalue())


def test_a_thumbnail_in_a_tiff_is_not_a_page():
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(COLOURS, photometric="rgb")
        writer.write(COLOURS[::2, ::2], photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(decode.image(file.getvalue()), COLOURS)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint32, np.float32, np.float64])
def test_other_number_types_need_a_range(dtype):
    pixels = np.linspace(-20, 120, 120).reshape(10, 12).clip(0 if dtype == np.uint32 else -20, 120).astype(dtype)
    data = tiff(pixels)
    with pytest.raises(UserError, match=rf"dem.tif has {np.dtype(dtype)}, values from .* State the range .*value_range=\(low, high\)"):
        decode.image(data, 1, "dem.tif")
    expected = np.rint(np.clip(pixels.astype(np.float64) / 100 * 255, 0, 255))
    np.testing.assert_allclose(decode.image(data, 1, reading=Reading(value_range=(0, 100)))[..., 0], expected, atol=1)
    with pytest.raises(UserError, match=r"the sample of this data set lay in 0 to 100. State the range"):
        decode.image(data, 1, reading=Reading(value_range=(0, 100), strict=True))


def test_twelve_bits_in_sixteen_keep_their_grey_levels():
    pixels = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    image = decode.image(written(pixels, "PNG"), 1, reading=Reading(value_range=(0, 4095)))
    assert len(np.unique(image)) == 256
    np.testing.assert_array_equal(image[..., 0], np.rint(pixels * (255 / 4095)))


def test_numbers_that_are_not_finite_are_counted():
    pixels = np.zeros((4, 4), np.float32)
    pixels[1, :2] = np.nan
    with pytest.raises(UserError, match="has 2 values that are not finite"):
        decode.image(tiff(pixels), 1, reading=Reading(value_range=(0, 1)))


def test_npy_arrays_are_images_and_labels_and_never_pickles(tmp_path):
    np.save(tmp_path / "a.npy", COLOURS)
    np.testing.assert_array_equal(decode.image(tmp_path / "a.npy"), COLOURS)
    np.save(tmp_path / "b.npy", IDS.astype(np.int64))
    np.testing.assert_array_equal(decode.label(tmp_path / "b.npy"), IDS)
    (tmp_path / "d.npy").write_bytes((tmp_path / "b.npy").read_bytes()[:-300])
    with pytest.raises(UserError, match=r"d.npy is damaged: it has [\d,]+ bytes for 20x30 pixels"):
        decode.label(tmp_path / "d.npy")
    np.save(tmp_path / "c.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(UserError, match=r"c.npy is damaged: it holds object, not numbers"):
        decode.label(tmp_path / "c.npy")


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.uint32, np.float32])
def test_labels_of_many_bits_and_below_zero_are_their_numbers(dtype):
    ids = (IDS.astype(int) - (0 if dtype == np.uint32 else 1)).astype(dtype)
    np.testing.assert_array_equal(decode.label(tiff(ids)), ids)


def test_one_bit_tiffs_are_read_as_written():
    truth = IDS > 5
    for data in (tiff(truth), tiff(truth, photometric="minisblack"), tiff(truth, photometric="miniswhite")):
        np.testing.assert_array_equal(decode.label(data), truth)
        np.testing.assert_array_equal(decode.mask(data), truth)
    np.testing.assert_array_equal(decode.label(tiff(IDS, photometric="miniswhite")), IDS)


def test_alpha_and_palette_of_a_label_are_reported():
    alpha = (IDS > 5).astype(np.uint8) * 255
    stored = decode.stored(written(np.dstack([COLOURS, alpha]), "PNG"))
    np.testing.assert_array_equal(stored.alpha, alpha)
    np.testing.assert_array_equal(stored.values, COLOURS)
    picture = Image.fromarray(IDS).copy()
    picture.putpalette([1, 2, 3, 4, 5, 6])
    file = io.BytesIO()
    picture.save(file, "PNG")
    np.testing.assert_array_equal(decode.stored(file.getvalue()).palette[:2], [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(("kind", "lossy"), [("PNG", False), ("JPEG", True), ("WEBP", True)])
def test_lossy_labels_are_reported(kind, lossy):
    assert decode.stored(written(IDS, kind)).lossy == lossy
    assert not decode.stored(written(IDS, "WEBP", "RGB", lossless=True)).lossy


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_the_exif_orientation_is_applied_or_a_question(kind, turn):
    exif = Image.Exif()
    exif[0x112] = turn
    data = written(COLOURS, kind, exif=exif)
    shown = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(decode.image(data, reading=Reading(orientation="apply")), shown)
    np.testing.assert_array_equal(decode.stored(data, reading=Reading(orientation="apply")).values, shown)
    if turn > 1:
        with pytest.raises(UserError, match=rf"orientation {turn}: viewers turn it. Set orientation='apply' .* or orientation='ignore'"):
            decode.image(data, reading=Reading(orientation="ask"))


def bomb(kind, height, width):
    """Return a file with a size in its header but without pixels."""
    if kind == "PNG":
        ihdr = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + ihdr + struct.pack(">I", zlib.crc32(ihdr)) + b"\0\0\0\0IEND\xaeB`\x82"
    if kind == "BMP":
        return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    entries = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, height),
        (279, 4, 9),
    ]
    packed = b"".join(struct.pack("<HHII", tag, form, 1, value) for tag, form, value in entries)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + packed + b"\0\0\0\0"


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
@pytest.mark.parametrize(("height", "width"), [(50_000, 50_000), (2_000_000_000, 2_000_000_000), (1, 2_147_483_647)])
def test_a_header_with_too_many_pixels_is_refused_before_a_pixel_is_read(kind, height, width):
    for read in (decode.image, decode.label):
        with pytest.raises(UserError, match=r"bomb.x (says it has|is damaged)"):
            read(bomb(kind, height, width), name="bomb.x")
    with pytest.raises(UserError, match=r"says it has 9,000x9,000 pixels .* at most 1,000 pixels .* raise pixels_limit"):
        decode.image(bomb(kind, 9_000, 9_000), reading=Reading(pixels_limit=1000))


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name, kind in (("pipe", "FIFO"), ("folder", "folder"), ("zero", "device")):
        with pytest.raises(UserError, match=f"{name}.png is a {kind}; expected a regular file"):
            decode.image(tmp_path / f"{name}.png")
    (tmp_path / "good.png").write_bytes(written(COLOURS, "PNG"))
    (tmp_path / "link.png").symlink_to(tmp_path / "good.png")
    np.testing.assert_array_equal(decode.image(tmp_path / "link.png"), COLOURS)


def test_a_sparse_file_of_20_gb_is_refused_unread(tmp_path):
    for name, head, says in (
        ("zeros", b"", "is not an image"),
        ("tail", written(COLOURS, "PNG"), r"has 20,000,\d+,\d+ bytes for 20x30 pixels"),
    ):
        with open(tmp_path / f"{name}.png", "wb") as file:
            file.write(head)
            file.truncate(20_000_000_000 + len(head))
        with pytest.raises(UserError, match=says):
            decode.image(tmp_path / f"{name}.png")


def test_names_are_printed_without_control_characters(tmp_path):
    path = tmp_path / "a\n\x1b[2Jb.png"
    path.write_bytes(b"junk")
    with pytest.raises(UserError, match=r"a\\n\\x1b\[2Jb.png is not an image"):
        decode.image(path)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"value_range": (1.0, 1.0)}, r"value_range is \(low, high\)"),
        ({"value_range": (0.0, float("inf"))}, r"value_range is \(low, high\)"),
        ({"pages": "all"}, "pages is 'ask', 'channels' or the number"),
        ({"orientation": "up"}, "orientation is 'ask', 'ignore' or 'apply'"),
        ({"pixels_limit": 0}, "pixels_limit must be at least 1"),
        ({"bands": (-1,)}, "bands are numbers of channels"),
    ],
)
def test_an_invalid_reading_is_refused(fields, says):
    with pytest.raises(UserError, match=says):
        Reading(**fields)


def test_a_data_description_defines_how_other_images_are_read():
    fields = {"root": "x", "channels": 1, "bands": [0], "value_range": [0, 4095], "orientation": "ask"}
    assert of_description(fields) == Reading(bands=(0,), value_range=(0, 4095))
    assert of_description({"orientation": "apply"}) == Reading(orientation="apply")


def test_a_label_with_fractions_is_refused_with_its_name():
    with pytest.raises(UserError, match=r"depth.tif has float32 with fractions"):
        decode.label(tiff(np.full((4, 4), 0.5, np.float32)), name="depth.tif")
