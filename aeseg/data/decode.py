"""Decoding of image files into arrays.

Only regular files are read, and the header before the pixels.  By default pixels stay as stored: EXIF orientation is not applied to
images or labels, because an editor that rotates a photograph by its tag does not rotate its mask.
"""

import io
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from PIL import Image

from aeseg.data import files, headers, tiff
from aeseg.data.files import IMAGES as KINDS
from aeseg.data.files import File, shown
from aeseg.data.headers import Header
from aeseg.data.reading import AS_STORED, UNTURN, Reading, of_channels, to_bits, turned, whole
from aeseg.types import UserError

__all__ = ["KINDS", "Reading", "Stored", "header", "image", "label", "mask", "raw", "stored"]

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # a damaged file raises a UserError with its name


class Stored(NamedTuple):
    """A label file as stored: `values` [h w] are numbers or palette indices, [h w 3] are colours; absent parts are None."""

    values: Shaped[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"]
    palette: UInt8[np.ndarray, "n 3"] | None = None
    alpha: UInt8[np.ndarray, "h w"] | None = None
    lossy: bool = False


def image(file: bytes | str | Path, channels: int = 3, name: str = "", reading: Reading = AS_STORED) -> Shaped[np.ndarray, "h w c"]:
    """Read an image from a file or its bytes, RGB (`channels=3`), grey (1), or any number of stored channels.

    For 3 channels, grey, palette and CMYK images become RGB; for 1, RGB becomes grey.  Alpha is dropped, not blended.  The image is
    uint8 or uint16 (`reading.bits`).  A damaged file, a different number of channels, and floats without a range raise a UserError
    with the file's name.
    """
    if channels < 1:
        raise UserError(f"Images are read with at least 1 channel; got channels={channels}.")
    with _opened(file, name) as (handle, name):
        head = _checked(handle, name, reading)
        chosen = _page(head, reading, name)
        plain = channels in (1, 3) and head.plain and chosen == 0 and not reading.bands
        # Pillow, which reads turned TIFFs, has 8 bits for colours.
        plain = plain and not (head.kind == "TIFF" and head.orientation != 1 and head.dtype == "uint16" and head.channels >= 3)
        if plain and head.dtype in ("bool", "uint8", "uint16"):
            pixels = _plain(handle.read(), head, channels, name)
        else:
            pixels = of_channels(_raw(handle, head, chosen, name), head, channels, reading, name)
    pixels = to_bits(pixels.reshape(*pixels.shape[:2], channels), reading, name)
    return np.ascontiguousarray(turned(pixels, head, reading, name))


def stored(file: bytes | str | Path, name: str = "", reading: Reading = AS_STORED) -> Stored:
    """Read a label file as stored, palette and alpha included.

    Numbers keep their stored values: 1, 2, 4, 8, 16, 32 or 64 bits, signed or unsigned.  Floats with integer values become integers.
    """
    with _opened(file, name) as (handle, name):
        head = _checked(handle, name, reading)
        if head.pages > 1 and not reading.pages.isdecimal():
            raise UserError(f"{shown(name)} has {head.pages} pages; a label has one. Save the page that is the label in a file of its own.")
        chosen = _page(head, reading, name)
        palette: np.ndarray | None = None
        alpha: np.ndarray | None = None
        if head.kind == "NPY" or not head.plain or chosen:
            pixels = _raw(handle, head, chosen, name)
            if pixels.shape[-1] not in (1, 3):
                raise UserError(f"A label holds one number or an RGB colour per pixel; {shown(name)} has {pixels.shape[-1]} channels.")
            pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
        else:
            pixels, palette, alpha = _label_by_pillow(handle.read(), head, name)
    values = whole(pixels, name)
    alpha = None if alpha is None else turned(alpha, head, reading, name)
    return Stored(np.ascontiguousarray(turned(values, head, reading, name)), palette, alpha, head.lossy)


def label(file: bytes | str | Path, name: str = "") -> Shaped[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"]:
    """Return the values of `stored`: ids [h w] or colours [h w 3].  Alpha is dropped."""
    return stored(file, name).values


def mask(file: bytes | str | Path, threshold: int = 128, name: str = "", reading: Reading = AS_STORED) -> Bool[np.ndarray, "h w"]:
    """Return the pixels whose grey value (0..255) reaches the threshold.  Palette pixels count by colour; 1-bit values are 0 or 255."""
    with _opened(file, name) as (handle, name):
        head = _checked(handle, name, reading)
        one_bit = head.dtype == "bool"
    if one_bit and head.kind in ("TIFF", "NPY"):
        return stored(file, name, reading).values.astype(bool)  # the stored values, whichever number is white
    return image(file, 1, name, reading)[..., 0] >= threshold


def raw(file: bytes | str | Path, name: str = "", reading: Reading = AS_STORED) -> Shaped[np.ndarray, "h w c"]:
    """Return all stored channels of an image, with their stored values."""
    with _opened(file, name) as (handle, name):
        head = _checked(handle, name, reading)
        return _raw(handle, head, _page(head, reading, name), name)


def header(file: bytes | str | Path, name: str = "") -> Header:
    """Read only a file's header."""
    with _opened(file, name) as (handle, name):
        return headers.read(handle, name)


class _opened:
    """An open regular file or bytes, and the name to print."""

    def __init__(self, file: bytes | str | Path, name: str):
        self.name = name or ("an image without a name" if isinstance(file, bytes) else str(file))
        self.file: File = io.BytesIO(file) if isinstance(file, bytes) else files.opened(file, self.name)

    def __enter__(self) -> tuple[File, str]:
        return self.file, self.name

    def __exit__(self, *error: object) -> None:
        self.file.close()


def _checked(handle: File, name: str, reading: Reading) -> Header:
    handle.seek(0)
    head = headers.read(handle, name)
    if handle.closed:
        raise UserError(f"{shown(name)} is damaged. Replace it or take it out of the data.")
    headers.check(head, handle, name, reading.pixels_limit)
    return head


def _page(head: Header, reading: Reading, name: str) -> int:
    """Return the page to read, or -1 for all pages."""
    if reading.pages.isdecimal():
        page = int(reading.pages)
        if page >= head.pages:
            raise UserError(f"{shown(name)} has {head.pages} pages, from 0; got pages={page}. Choose one of them.")
        return page
    if head.pages == 1:
        return 0
    if reading.pages == "ask":
        raise UserError(
            f"{shown(name)} has {head.pages} pages. Set pages='channels' if they are the channels of one image, or to the number of "
            "the page to read (pages='0' is the first)."
        )
    return -1


def _plain(data: bytes, head: Header, channels: int, name: str) -> np.ndarray:
    pixels = None
    # OpenCV always rotates 8-bit TIFF by its tag, and fills the rest of a truncated JPEG with grey.
    if not (head.kind == "TIFF" and head.orientation != 1) and not _is_cut(data):
        pixels = _by_opencv(data, channels)
    if pixels is None:
        pixels = _by_pillow(data, head, name, "RGB" if channels == 3 else "L")
    return pixels


def _by_opencv(data: bytes, channels: int) -> np.ndarray | None:
    # IMREAD_COLOR_RGB gives wrong colours for 16-bit TIFF (OpenCV 5.0): read BGR and swap.
    flags = cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_GRAYSCALE
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    if pixels is not None and channels == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return pixels


def _by_pillow(data: bytes, head: Header, name: str, mode: str) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data)) as picture:
            if picture.mode.startswith("I;16"):
                pixels = np.asarray(picture).astype(np.uint16)
                pixels = pixels if mode == "L" else np.stack([pixels] * 3, axis=-1)
            else:
                pixels = np.asarray(picture.convert(mode) if picture.mode not in ("I", "F") else picture)
    except headers.FAILURES as error:
        raise UserError(f"{shown(name)} is damaged: {shown(error)}. Replace it or take it out of the data.") from error
    return _stored_way(pixels, head)


def _label_by_pillow(data: bytes, head: Header, name: str) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return the stored pixels, the palette and the alpha channel."""
    palette = alpha = None
    try:
        with Image.open(io.BytesIO(data)) as picture:
            raw = picture.tile[0].args if picture.tile else ""
            raw = str(raw[0] if isinstance(raw, tuple) and raw else raw)
            mode, pixels = picture.mode, np.asarray(picture)
            if mode == "P":
                colours = picture.getpalette("RGB") or []
                palette = np.array(colours, np.uint8).reshape(-1, 3)
    except headers.FAILURES as error:
        raise UserError(f"{shown(name)} is damaged: {shown(error)}. Replace it or take it out of the data.") from error
    if mode in ("LA", "RGBA"):
        alpha, pixels = pixels[..., -1], pixels[..., 0] if mode == "LA" else pixels[..., :3]
    elif mode in ("1", "L"):
        pixels = pixels.astype(np.uint8) // {"L;2": 85, "L;4": 17}.get(raw, 1)  # Pillow stretches 2 and 4 bits to 0..255
        if raw.endswith("I") and head.inverted:
            pixels = (1 if mode == "1" else 255) - pixels  # Pillow inverts MinIsWhite; the file holds the complement
    elif mode not in ("P", "I", "I;16", "I;16B", "I;16L", "RGB"):
        raise UserError(f"A label holds whole numbers, palette indices or RGB colours; {shown(name)} is of mode {mode}. Convert it.")
    return _stored_way(pixels, head), palette, None if alpha is None else _stored_way(alpha, head)


def _raw(handle: File, head: Header, chosen: int, name: str) -> np.ndarray:
    """Return all stored channels [h w c] of any number type, colours as RGB(A)."""
    handle.seek(0)
    if head.kind == "TIFF":
        return tiff.pages(handle, name, chosen)
    if head.kind == "NPY":
        try:
            pixels = np.lib.format.read_array(handle, allow_pickle=False)
        except headers.FAILURES as error:
            raise UserError(f"{shown(name)} is damaged: {shown(error)}. Replace it or take it out of the data.") from error
        return pixels[..., None] if pixels.ndim == 2 else pixels
    try:
        with Image.open(handle) as picture:
            frames = range(head.pages) if chosen < 0 else (chosen,)
            planes = []
            for frame in frames:
                if frame:
                    picture.seek(frame)
                shows_colours = picture.mode in ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV")
                planes.append(np.asarray(picture.convert("RGB") if shows_colours else picture))
    except headers.FAILURES as error:
        raise UserError(f"{shown(name)} is damaged: {shown(error)}. Replace it or take it out of the data.") from error
    if head.dtype == "uint16" and head.mode != "I;16" and planes[0].dtype == np.uint8:
        handle.seek(0)
        wide: Any = cv2.imdecode(np.frombuffer(handle.read(), np.uint8), cv2.IMREAD_UNCHANGED)  # Pillow reads 8 of the 16 bits
        planes = [wide[..., [2, 1, 0, *range(3, wide.shape[-1])]] if wide.ndim == 3 else wide]
    return np.concatenate([plane if plane.ndim == 3 else plane[..., None] for plane in planes], axis=-1)


def _stored_way(pixels: np.ndarray, head: Header) -> np.ndarray:
    """Undo Pillow's rotation: Pillow rotates TIFF, and only TIFF, by its tag."""
    return UNTURN.get(head.orientation, np.asarray)(pixels) if head.kind == "TIFF" else pixels


def _is_cut(data: bytes) -> bool:
    # libpng prints to stderr for a truncated file; Pillow raises.
    if data[:2] == b"\xff\xd8":
        return b"\xff\xd9" not in data[-64:]
    return data[:4] == b"\x89PNG" and b"IEND" not in data[-64:]
