"""Headers of image files: size, channels and kind, without the pixels."""

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from aeseg.data.files import IMAGES, File, shown, size
from aeseg.types import UserError

PIXELS_LIMIT = 2**28
"""Default limit on an image's pixels: 16,384 x 16,384."""

FAILURES = (OSError, SyntaxError, ValueError, EOFError, KeyError, TypeError, IndexError, OverflowError, MemoryError, struct.error, Warning)
"""Exceptions that readers raise for a damaged file."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PAGES = 10_000  # limit: in a damaged file, directories may point at one another
_CHANNELS = {"1": 1, "L": 1, "P": 1, "I": 1, "F": 1, "LA": 2, "PA": 2, "La": 2, "RGBA": 4, "RGBa": 4, "CMYK": 4, "RGBX": 4}

Image.MAX_IMAGE_PIXELS = None  # `check` holds the limit, with a message that names the field


class Header(NamedTuple):
    """The header of an image file.

    `dtype`: NumPy's name of the stored numbers, "bool" for 1 bit; `mode`: Pillow's mode, "" if Pillow does not read the file;
    `alpha`: whether the last channel is transparency; `inverted`: whether stored 0 is white; `plain`: whether the usual readers
    return grey, palette, RGB or CMYK.
    """

    kind: str
    height: int
    width: int
    channels: int
    dtype: str
    mode: str
    pages: int = 1
    orientation: int = 1
    alpha: bool = False
    lossy: bool = False
    inverted: bool = False
    plain: bool = True


def read(file: File, name: str) -> Header:
    """Read the header of an open image file; a damaged file or another kind of file raises a UserError with its name."""
    file.seek(0)
    magic = file.read(16)
    file.seek(0)
    if not magic:
        raise UserError(f"{shown(name)} is empty (0 bytes). Replace it or take it out of the data.")
    try:
        if magic[:4] in _TIFF:
            return _of_tiff(file)
        if magic[:6] == b"\x93NUMPY":
            return _of_npy(file)
        with Image.open(file) as picture:
            return _of_picture(picture, magic)
    except UnidentifiedImageError as error:
        raise UserError(f"{shown(name)} is not an image that can be read ({', '.join(IMAGES)}). Replace it or take it out.") from error
    except FAILURES as error:
        raise UserError(f"{shown(name)} is damaged: {shown(error)}. Replace it or take it out of the data.") from error
    finally:
        if not file.closed:
            file.seek(0)


def check(header: Header, file: File, name: str, limit: int) -> None:
    """Raise UserError for an image of more pixels than the limit, or a file far larger than its pixels can be."""
    h, w = header.height, header.width
    if min(h, w, header.channels) < 1:
        raise UserError(f"{shown(name)} says it has {h}x{w} pixels (height x width); expected at least 1x1. Replace it or take it out.")
    if h * w * max(1, header.channels // 4) > limit:
        raise UserError(
            f"{shown(name)} says it has {h:,}x{w:,} pixels (height x width, {header.channels} channels); expected at most {limit:,} "
            "pixels of 4 channels. Cut it into tiles, or raise pixels_limit if memory allows."
        )
    most = 4 * h * w * header.channels * np.dtype(header.dtype).itemsize * header.pages + 2**26
    if header.kind == "NPY" and size(file) < h * w * header.channels * np.dtype(header.dtype).itemsize:
        raise UserError(f"{shown(name)} is damaged: it has {size(file):,} bytes for {h}x{w} pixels. Replace it or take it out of the data.")
    if size(file) > most:
        raise UserError(
            f"{shown(name)} has {size(file):,} bytes for {h}x{w} pixels; expected at most {most:,}. Save it again, or take it out."
        )


def tiff_directories(file: File) -> list[Any]:
    """Return the directories of a TIFF that hold full images, without thumbnails, overviews and masks."""
    head = file.read(8)
    if len(head) == 8 and head[2:4] in (b"+\0", b"\0+"):
        head += file.read(8)
    directory = TiffImagePlugin.ImageFileDirectory_v2(head)
    following, kept = directory.next, []
    seen: set[int] = set()
    end = size(file)
    while following and following not in seen and len(seen) < _PAGES:
        if following > end:
            raise OSError("a directory lies beyond the end of the file")
        seen.add(following)
        file.seek(following)
        directory = TiffImagePlugin.ImageFileDirectory_v2(head)
        directory.load(file)
        if directory.get(254, 0) & 0b101 == 0:  # bit 0: reduced, bit 2: transparency mask
            kept.append(directory)
        following = directory.next
    if not kept:
        raise OSError("no directory holds an image")
    return kept


def _of_tiff(file: File) -> Header:
    directories = tiff_directories(file)
    first = directories[0]
    samples, photometric = int(first.get(277, 1)), int(first.get(262, 1))
    bits = first.get(258, (1,))
    bits = max(bits) if isinstance(bits, tuple) else bits
    form = first.get(339, (1,))
    form = form[0] if isinstance(form, tuple) else form
    dtype = "bool" if bits == 1 else f"{ {1: 'uint', 2: 'int', 3: 'float'}.get(form, 'uint') }{max(8, 1 << (bits - 1).bit_length())}"
    np.dtype(dtype)
    extra = first.get(338, ())
    extra = extra if isinstance(extra, tuple) else (extra,)
    colours = {0: 1, 1: 1, 2: 3, 3: 1, 4: 1, 5: 4, 6: 3, 8: 3}.get(photometric, 0)
    alpha = samples == colours + 1 and extra[-1:] in ((1,), (2,))
    plain = samples == colours + alpha and dtype in ("bool", "uint8", "uint16")
    mode = {0: "L", 1: "L", 3: "P"}.get(photometric, "RGB") if plain else ""
    height, width = int(first.get(257, 0)), int(first.get(256, 0))
    lossy = int(first.get(259, 1)) in (6, 7, 34712)
    turn = int(first.get(274, 1))
    return Header("TIFF", height, width, samples, dtype, mode, len(directories), turn, alpha, lossy, photometric == 0, plain)


def _of_npy(file: File) -> Header:
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = reader(file)
    if dtype.hasobject or dtype.kind not in "buif":
        raise ValueError(f"it holds {dtype}, not numbers")
    if len(shape) not in (2, 3):
        raise ValueError(f"it has shape {shape}; expected height x width or height x width x channels")
    height, width, channels = (*shape, 1)[:3]
    return Header("NPY", height, width, channels, dtype.name, "", plain=False)


def _of_picture(picture: Image.Image, magic: bytes) -> Header:
    mode, info = picture.mode, picture.info
    dtype = {"1": "bool", "I": "int32", "F": "float32"}.get(mode, "uint16" if mode.startswith("I;16") else "uint8")
    if picture.format == "PNG" and magic[:4] == b"\x89PNG" and dtype != "uint16" and _png_bits(picture) == 16:
        dtype = "uint16"  # Pillow reports 16-bit RGB as 8 bits
    channels = _CHANNELS.get(mode, 1 if mode.startswith("I") else 3)
    lossy = picture.format in ("JPEG", "MPO") or (magic[:4] == b"RIFF" and not _is_lossless_webp(picture))
    pages = getattr(picture, "n_frames", 1) if getattr(picture, "is_animated", False) and picture.format != "MPO" else 1
    alpha = mode in ("LA", "La", "PA", "RGBA", "RGBa")
    return Header(str(picture.format), picture.height, picture.width, channels, dtype, mode, pages, _turn(info), alpha, lossy)


def _turn(info: Mapping[Any, Any]) -> int:
    """Return the EXIF orientation.  `picture.getexif()` is avoided: it decodes a PNG to read tags behind its pixels."""
    if not info.get("exif"):
        return 1
    exif = Image.Exif()
    exif.load(info["exif"])
    turn = exif.get(274, 1)
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


def _png_bits(picture: Image.Image) -> int:
    file: Any = getattr(picture, "fp", None)
    here = file.tell()
    file.seek(24)
    bits = file.read(1)
    file.seek(here)
    return bits[0] if bits else 8


def _is_lossless_webp(picture: Image.Image) -> bool:
    file: Any = getattr(picture, "fp", None)
    if file is None or file.closed:
        return False
    file.seek(0)
    head = file.read(2**12)
    return b"VP8L" in head and b"VP8 " not in head[: head.index(b"VP8L")]
