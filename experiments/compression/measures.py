"""Sizes and qualities of compressed images: this codec, JPEG and WebP."""

import io
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from aeseg.compression.codec import Codec
from aeseg.compression.similarity import compiled

Coder = Callable[[UInt8[np.ndarray, "h w c"]], tuple[int, UInt8[np.ndarray, "h w c"]]]
"""Maps an image to the size of its file in bytes, and the decoded image."""

RIVALS = {"JPEG": (2, 5, 10, 20, 30, 50, 70, 85), "WebP": (0, 5, 10, 20, 40, 60, 80, 90)}
"""{format of Pillow: qualities at which it is measured}."""

COARSER = (-6, -3, 0, 3, 6)
"""Quantisers at which each network is measured, in steps from the trained one; a step rounds the features 13 % more coarsely."""


class Point(NamedTuple):
    """One coder at one setting: bits per pixel over all pixels, and mean qualities over images."""

    coder: str
    setting: float
    bits: float
    psnr: float
    ms_ssim: float


def quality(image: UInt8[np.ndarray, "h w c"], decoded: UInt8[np.ndarray, "h w c"]) -> dict[str, float]:
    """Return {"psnr", "ms_ssim"} of 8-bit images.  Equal images have 100 dB; MS-SSIM is NaN for images that are too small for it."""
    error = np.mean(np.square(image.astype(np.float64) - decoded)) / 255**2
    one, other = (np.float32(each[None]) / 255 for each in (image, decoded))
    return {"psnr": float(-10 * np.log10(max(error, 1e-10))), "ms_ssim": float(compiled(one, other)[0])}


def without_nan(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line with None for NaN, which is not JSON."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in line.items()}


def pillow(kind: str, setting: int) -> Coder:
    """Return a coder of Pillow: JPEG (optimised Huffman tables) or WebP (slowest method), with colours at half the resolution."""
    options = {"JPEG": {"optimize": True}, "WebP": {"method": 6}}[kind]

    def coder(image: UInt8[np.ndarray, "h w c"]) -> tuple[int, UInt8[np.ndarray, "h w c"]]:
        buffer = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, kind, quality=setting, **options)
        decoded = Image.open(buffer).convert("L" if image.shape[-1] == 1 else "RGB")
        return buffer.getbuffer().nbytes, np.asarray(decoded).reshape(image.shape)

    return coder


def network(codec: Codec, coarser: int) -> Coder:
    """Return a coder of a trained network; the image is decoded from the file."""

    def coder(image: UInt8[np.ndarray, "h w c"]) -> tuple[int, UInt8[np.ndarray, "h w c"]]:
        content = codec.compress(image, coarser).content
        return len(content), codec.decompress(content, "this file").image

    return coder
