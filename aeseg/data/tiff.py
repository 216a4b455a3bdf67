"""TIFF files with any number of bands, bits and pages, read by tifffile."""

from typing import Any

import cv2
import numpy as np
from jaxtyping import Shaped

from aeseg.data.files import File, shown
from aeseg.data.headers import FAILURES
from aeseg.types import UserError


def pages(file: File, name: str, chosen: int) -> Shaped[np.ndarray, "h w c"]:
    """Read one full-size page [h w bands], or with -1 all pages, joined along the bands."""
    try:
        import tifffile
    except ImportError as error:
        raise UserError(f"{shown(name)} is a TIFF that needs tifffile, which is not installed. Run: pip install tifffile.") from error
    try:
        with tifffile.TiffFile(file) as tiff:
            every: list[Any] = list(tiff.pages)
            kept = [page for page in every if not page.is_reduced and not page.is_mask]
            planes = [_pixels(page, page.asarray()) for page in (kept if chosen < 0 else kept[chosen : chosen + 1])]
    except Exception as error:  # tifffile and its codecs raise many types
        pixels = _by_opencv(file) if chosen <= 0 and "imagecodecs" in str(error) else None
        if pixels is None:
            remedy = "Run: pip install imagecodecs." if "imagecodecs" in str(error) else "Replace it or take it out of the data."
            raise UserError(f"{shown(name)} cannot be read: {shown(error)}. {remedy}") from error
        return pixels
    if len({plane.shape[:2] for plane in planes}) != 1:
        sizes = ", ".join(f"{plane.shape[0]}x{plane.shape[1]}" for plane in planes[:5])
        raise UserError(
            f"The pages of {shown(name)} are of different sizes ({sizes}); channels need one size. Set pages to one page's number."
        )
    return np.concatenate(planes, axis=-1)


def _pixels(page: Any, pixels: np.ndarray) -> np.ndarray:
    """Return a page as [h w bands]."""
    if pixels.ndim == 2:
        return pixels[..., None]
    if pixels.ndim != 3:
        raise ValueError(f"a page has the axes {page.axes}; expected height, width and bands")
    return np.moveaxis(pixels, 0, -1) if page.axes[0] == "S" else pixels


def _by_opencv(file: File) -> np.ndarray | None:
    """Read the first page by OpenCV, for compressions for which tifffile needs imagecodecs; None if OpenCV fails."""
    file.seek(0)
    try:
        pixels = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    except (cv2.error, *FAILURES):
        return None
    if pixels is None or pixels.ndim == 2:
        return None if pixels is None else pixels[..., None]
    return pixels[..., [2, 1, 0, *range(3, pixels.shape[-1])]] if pixels.shape[-1] >= 3 else pixels
