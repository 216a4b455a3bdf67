"""Image files into arrays, pixels as they are stored.

EXIF orientation is ignored for images and labels alike: an editor that rotates a photograph by a tag does not rotate
its mask, so honouring the tag would tear the two apart.  What is predicted for a file is therefore in the file's stored
orientation too.  The first frame of an animation or a stack is read.
"""

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from PIL import Image, UnidentifiedImageError

from aeseg.types import UserError

KINDS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""The endings, in small letters, of the files that are read."""

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # a damaged file is a UserError with its name; enough said

_UNTURN: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # TIFF tag 274 -> from the picture as shown back to the pixels as stored
    2: np.fliplr,
    3: lambda shown: np.rot90(shown, 2),
    4: np.flipud,
    5: lambda shown: np.swapaxes(shown, 0, 1),
    6: lambda shown: np.rot90(shown, 1),
    7: lambda shown: np.swapaxes(np.rot90(shown, 2), 0, 1),
    8: lambda shown: np.rot90(shown, -1),
}
_FAILURES = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)  # what PIL raises for a bad file


def image(file: bytes | str | Path, channels: int = 3, name: str = "") -> UInt8[np.ndarray, "h w c"]:
    """The image in a file or in its bytes, RGB (`channels=3`) or grey (`channels=1`).

    Grey and palette images are spread to RGB, CMYK is converted, alpha is dropped (not blended: the colours under it
    stand), 16 bits become 8 by rounding v / 257.  A damaged file is a UserError with its name.
    """
    if channels not in (1, 3):
        raise UserError(f"Images are read with 1 or 3 channels; got channels={channels}. Choose one of these.")
    data, name = _bytes(file, name)
    pixels = None
    if not _is_turned_tiff(data, name) and not _is_cut(data):
        pixels = _by_opencv(data, channels)
    if pixels is None:
        pixels = _by_pillow(data, name, "RGB" if channels == 3 else "L")
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise UserError(f"Images have 8 or 16 bits per channel; {name} has {pixels.dtype}. Convert it to one of these.")
    return np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], channels))


def label(file: bytes | str | Path, name: str = "") -> Shaped[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"]:
    """The ids in a label file [h w], or its colours [h w 3] where it is colour-coded.

    Ids are the stored numbers: grey levels of 1, 2, 4, 8, 16 or 32 bits, or the indices of a palette.  Alpha is
    dropped.
    """
    data, name = _bytes(file, name)
    stored, mode, pixels = _opened(data, name)
    if mode in ("LA", "RGBA"):
        pixels = pixels[..., 0] if mode == "LA" else pixels[..., :3]
    elif mode == "1":
        pixels = pixels.astype(np.uint8)
    elif mode == "L":
        pixels = pixels // {"L;2": 85, "L;4": 17}.get(stored, 1)  # Pillow stretches 2 and 4 bits to 0..255
    elif mode == "F" or mode not in ("P", "I", "I;16", "I;16B", "I;16L", "RGB"):
        raise UserError(f"A label holds whole numbers, palette indices or RGB colours; {name} is of mode {mode}. Convert it.")
    return pixels


def mask(file: bytes | str | Path, threshold: int = 128, name: str = "") -> Bool[np.ndarray, "h w"]:
    """Where the grey value of a file, 0..255, reaches the threshold; palettes count by their colours, 1 bit is 0 or 255."""
    return image(file, 1, name)[..., 0] >= threshold


def _bytes(file: bytes | str | Path, name: str) -> tuple[bytes, str]:
    if isinstance(file, bytes):
        data, name = file, name or "an image without a name"
    else:
        name = name or str(file)
        try:
            data = Path(file).read_bytes()
        except OSError as error:
            raise UserError(f"Cannot read {name}: {error.strerror}. Check the path and its permissions.") from error
    if not data:
        raise UserError(f"{name} is empty (0 bytes). Replace it or take it out of the data.")
    return data, name


def _by_opencv(data: bytes, channels: int) -> np.ndarray | None:
    # IMREAD_COLOR_RGB gives wrong colours for 16-bit TIFF (OpenCV 5.0), so BGR and a swap.
    flags = cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_GRAYSCALE
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    if pixels is not None and channels == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return pixels


def _by_pillow(data: bytes, name: str, mode: str) -> np.ndarray:
    return _opened(data, name, mode)[2]


def _opened(data: bytes, name: str, convert: str = "") -> tuple[str, str, np.ndarray]:
    """How the pixels are stored (Pillow's raw mode), the mode, and the pixels."""
    try:
        with Image.open(io.BytesIO(data)) as picture:
            raw = picture.tile[0].args if picture.tile else ""
            stored = str(raw[0] if isinstance(raw, tuple) and raw else raw)
            turn = picture.tag_v2.get(274, 1) if picture.format == "TIFF" else 1  # type: ignore[attr-defined]
            mode = picture.mode
            if convert and mode.startswith("I;16"):
                pixels = np.asarray(picture).astype(np.uint16)
                pixels = pixels if convert == "L" else np.stack([pixels] * 3, axis=-1)
            else:
                pixels = np.asarray(picture.convert(convert) if convert and mode not in ("I", "F") else picture)
    except UnidentifiedImageError as error:
        raise UserError(f"{name} is not an image that can be read ({', '.join(KINDS)}). Replace it or take it out.") from error
    except _FAILURES as error:
        raise UserError(f"{name} is damaged: {error}. Replace it or take it out of the data.") from error
    return stored, mode, _UNTURN.get(turn, np.asarray)(pixels)  # Pillow turns TIFF, and only TIFF, by its tag


def _is_turned_tiff(data: bytes, name: str) -> bool:
    # OpenCV turns 8-bit TIFF by its tag whatever it is told.
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return False
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return bool(picture.tag_v2.get(274, 1) != 1)  # type: ignore[attr-defined]
    except UnidentifiedImageError:
        return False  # a kind that Pillow does not know (five bands, floating point) and OpenCV may
    except _FAILURES as error:
        raise UserError(f"{name} is damaged: {error}. Replace it or take it out of the data.") from error


def _is_cut(data: bytes) -> bool:
    # OpenCV 4 fills the rest of a truncated JPEG with grey and says nothing; Pillow refuses it.  libpng complains on stderr.
    if data[:2] == b"\xff\xd8":
        return b"\xff\xd9" not in data[-64:]
    return data[:4] == b"\x89PNG" and b"IEND" not in data[-64:]
