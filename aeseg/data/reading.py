"""Conversion of stored pixels to an image: channels, value range, orientation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8, UInt16

from aeseg.data.files import shown
from aeseg.data.headers import PIXELS_LIMIT, Header
from aeseg.types import UserError

_TURN: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # EXIF orientation -> from the pixels as stored to the picture as shown
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: np.swapaxes(pixels, 0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.swapaxes(np.rot90(pixels, 2), 0, 1),
    8: lambda pixels: np.rot90(pixels, 1),
}
UNTURN = {**_TURN, 6: _TURN[8], 8: _TURN[6]}


@dataclass(frozen=True)
class Reading:
    """Settings for reading image files.

    bands         the stored channels to take, in this order; () takes all
    value_range   (low, high) become the smallest and largest value, values beyond are clipped; (0, 0) keeps 8 and 16 bits as stored
    strict        raise for values beyond the range instead
    pages         "ask" refuses files of several pages; "channels" joins them; "0", "1", ... takes one
    orientation   "ignore" the EXIF tag, "apply" it, or "ask": refuse files whose tag turns them
    pixels_limit  largest number of pixels of an image (of up to 4 channels)
    bits          of a channel in memory: 8 (uint8; 16 stored bits become 8 by v / 257), or 16 (uint16; 8 stored ones by v * 257)
    """

    bands: tuple[int, ...] = ()
    value_range: tuple[float | int, float | int] = (0.0, 0.0)
    strict: bool = False
    pages: str = "ask"
    orientation: str = "ignore"
    pixels_limit: int = PIXELS_LIMIT
    bits: int = 8

    @property
    def of_labels(self) -> "Reading":
        """Return the settings for the images' labels: the same orientation, all channels, one page."""
        return Reading(orientation=self.orientation, pixels_limit=self.pixels_limit)

    def __post_init__(self) -> None:
        low, high = self.value_range
        if not (low < high or low == high == 0) or not np.isfinite([low, high]).all():
            raise UserError(f"value_range is (low, high) with low < high, or (0, 0) for 8 and 16 bits; got {self.value_range}.")
        if self.pages not in ("ask", "channels") and not self.pages.isdecimal():
            raise UserError(f"pages is 'ask', 'channels' or the number of a page; got {self.pages!r}.")
        if self.orientation not in ("ask", "ignore", "apply"):
            raise UserError(f"orientation is 'ask', 'ignore' or 'apply'; got {self.orientation!r}.")
        if self.pixels_limit < 1:
            raise UserError(f"pixels_limit must be at least 1; got {self.pixels_limit}.")
        if any(band < 0 for band in self.bands):
            raise UserError(f"bands are numbers of channels, from 0; got {self.bands}.")


AS_STORED = Reading()


def of_description(fields: Mapping[str, Any]) -> Reading:
    """Return the settings of a described source, for new images (predict); absent fields have their defaults.

    Without labels, an orientation of "ask" becomes "ignore": there is no label that it must agree with.
    """
    names = ("bands", "value_range", "pages", "orientation", "pixels_limit", "bits")
    given: dict[str, Any] = {
        name: tuple(fields[name]) if isinstance(fields[name], list | tuple) else fields[name] for name in names if name in fields
    }
    given["bits"] = given.get("bits") or 8
    return Reading(**{**given, "orientation": "apply" if given.get("orientation") == "apply" else "ignore"})


def of_channels(pixels: np.ndarray, head: Header, channels: int, reading: Reading, name: str) -> np.ndarray:
    """Return the requested channels."""
    stored_channels = pixels.shape[-1]
    if reading.bands:
        if max(reading.bands) >= stored_channels or len(reading.bands) != channels:
            raise UserError(
                f"{shown(name)} has {stored_channels} channels; got bands={reading.bands} for channels={channels}. "
                f"Name {channels} of 0..{stored_channels - 1}."
            )
        return pixels[..., list(reading.bands)]
    if head.alpha and stored_channels == channels + 1:
        return pixels[..., :channels]
    if stored_channels == 1 or (head.alpha and stored_channels == 2):
        return np.repeat(pixels[..., :1], channels, axis=-1) if channels == 3 else _refused(pixels, channels, name)
    if (
        channels == 1
        and (stored_channels == 3 or (head.alpha and stored_channels == 4))
        and pixels.dtype in (np.uint8, np.uint16, np.float32)
    ):
        return cv2.cvtColor(np.ascontiguousarray(pixels[..., :3]), cv2.COLOR_RGB2GRAY)
    return _refused(pixels, channels, name)


def _refused(pixels: np.ndarray, channels: int, name: str) -> np.ndarray:
    if pixels.shape[-1] == channels:
        return pixels
    pick = f", or name {channels} of them with bands (bands={tuple(range(channels))})" if channels < pixels.shape[-1] else ""
    raise UserError(
        f"{shown(name)} has {pixels.shape[-1]} channels; channels={channels} was asked for. "
        f"Set channels={pixels.shape[-1]} to read all{pick}."
    )


def to_bits(pixels: np.ndarray, reading: Reading, name: str) -> UInt8[np.ndarray, "h w c"] | UInt16[np.ndarray, "h w c"]:
    """Scale values by the range to 0..255 or 0..65535."""
    low, high = reading.value_range
    dtype: np.dtype[Any] = np.dtype(np.uint16 if reading.bits == 16 else np.uint8)
    largest = 2**reading.bits - 1
    if low == high:
        if pixels.dtype == dtype:
            return pixels
        if pixels.dtype == np.uint16:
            return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
        if pixels.dtype == np.uint8:
            return pixels.astype(np.uint16) * np.uint16(257)
        if pixels.dtype == bool:
            return np.where(pixels, largest, 0).astype(dtype)
        finite = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels
        ends = f"{finite.min():g} to {finite.max():g}" if finite.size else "no finite number"
        raise UserError(
            f"{shown(name)} has {pixels.dtype}, values from {ends}; only 8 and 16 bits without sign have a range of their own. State the "
            "range of the whole data set: value_range=(low, high), which become black and white."
        )
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        wrong = np.count_nonzero(~np.isfinite(pixels))
        raise UserError(f"{shown(name)} has {wrong:,} values that are not finite (NaN or infinity). Fill them, or take the file out.")
    if reading.strict and (pixels.min() < low or pixels.max() > high):
        raise UserError(
            f"{shown(name)} has values from {pixels.min():g} to {pixels.max():g}; the sample of this data set lay in {low:g} to {high:g}. "
            "State the range: value_range=(low, high)."
        )
    wide: np.ndarray = pixels.astype(np.float64 if pixels.dtype.itemsize > 2 else np.float32)
    scaled = np.multiply(np.subtract(wide, low), largest / (high - low))
    return np.rint(np.clip(scaled, 0, largest)).astype(dtype)


def whole(pixels: np.ndarray, name: str) -> np.ndarray:
    """Convert label values to integers."""
    if pixels.dtype == bool:
        return pixels.astype(np.uint8)
    if pixels.dtype.kind == "f":
        if not np.isfinite(pixels).all() or (pixels != np.rint(pixels)).any() or np.abs(pixels).max(initial=0) > 2**31:
            raise UserError(f"A label holds whole numbers; {shown(name)} has {pixels.dtype} with fractions, NaN or infinity. Convert it.")
        return pixels.astype(np.int32)
    return pixels


def turned(pixels: np.ndarray, head: Header, reading: Reading, name: str) -> np.ndarray:
    """Return the pixels as stored, or as viewers show them if orientation is "apply"."""
    if head.orientation == 1 or reading.orientation == "ignore":
        return pixels
    if reading.orientation == "ask":
        raise UserError(
            f"{shown(name)} has EXIF orientation {head.orientation}: viewers turn it. Set orientation='apply' if labels were drawn on what "
            "viewers show, or orientation='ignore' if they fit the pixels as stored."
        )
    return _TURN.get(head.orientation, np.asarray)(pixels)
