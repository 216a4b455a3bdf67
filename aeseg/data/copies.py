"""Images that go back to disk as they came: bits, transparency and metadata of the file are kept, and nothing is compressed with loss."""

import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import Shaped
from PIL import Image

from aeseg.data import decode, georeference, headers
from aeseg.data.files import opened, shown
from aeseg.data.reading import Reading
from aeseg.types import UserError

TEXTS = {270: "s", 271: "s", 272: "s", 305: "s", 306: "s", 315: "s", 33432: "s", 42112: "s", 42113: "s"}
"""TIFF tags of text: description, make, model, software, date, artist, copyright, and GDAL's metadata and value of missing pixels."""

ORIENTATION, UNIT, RESOLUTION = 274, 296, (282, 283)
"""TIFF tags of numbers: how viewers turn the image, unit of the resolution, and pixels per unit along w and h."""

SIZES = {0xA002: 1, 0xA003: 0}
"""EXIF tags of an image's width and height: tag -> axis."""

XMP = b"XML:com.adobe.xmp"


class Copy(NamedTuple):
    """A file's image [h w c], uint8 or uint16, its transparency [h w], and its metadata.

    A TIFF also has `tags`, georeference included, and a `resolution`, (pixels along w, along h) per `unit`, as fractions. `is_grey`
    says that the file holds one channel for the equal channels of the image.
    """

    image: Shaped[np.ndarray, "h w c"]
    alpha: Shaped[np.ndarray, "h w"] | None = None
    exif: bytes = b""
    icc: bytes = b""
    xmp: bytes = b""
    tags: tuple[georeference.Tag, ...] = ()
    resolution: tuple[tuple[int, int], tuple[int, int]] | None = None
    unit: int = 1
    is_tiff: bool = False
    is_grey: bool = False

    @property
    def planes(self) -> Shaped[np.ndarray, "h w _"]:
        """Return the channels that the file gets, transparency last."""
        image = self.image
        if self.is_grey:
            image = np.rint(image.mean(axis=-1, keepdims=True)).astype(image.dtype)
        return image if self.alpha is None else np.concatenate([image, self.alpha[..., None]], axis=-1)

    @property
    def ending(self) -> str:
        """Return the ending of the file that `write` writes: TIFF stays TIFF, as do channels that PNG does not have."""
        stored = (1 if self.is_grey else self.image.shape[-1]) + (self.alpha is not None)
        return ".png" if stored in (1, 3, 4) and not self.is_tiff else ".tif"


def read(path: str | Path, channels: int = 3) -> Copy:
    """Read a file as stored (EXIF orientation is kept as a tag, not applied); numbers other than 8 or 16 bits raise UserError."""
    head = decode.header(path)
    if head.dtype not in ("bool", "uint8", "uint16"):
        raise UserError(f"{shown(path)} has {head.dtype}; expected 8 or 16 bits without sign. Convert it.")
    image = decode.image(path, channels, reading=Reading(bits=16 if head.dtype == "uint16" else 8))
    alpha = decode.raw(path)[..., -1] if head.alpha else None
    is_grey = channels == 3 and head.channels - head.alpha == 1 and head.mode not in ("P", "PA")
    if head.kind == "TIFF":
        return Copy(image, alpha, **_of_tiff(path), is_tiff=True, is_grey=is_grey)
    if head.kind == "NPY":
        return Copy(image, alpha, is_grey=is_grey)
    with opened(path) as file:
        try:
            with Image.open(file) as picture:
                picture.load()  # a PNG's EXIF may come after its pixels
                info = {name: picture.info.get(name) or b"" for name in ("exif", "icc_profile", "xmp")}
                if "transparency" in picture.info and head.dtype == "uint8":  # of a palette, or of one colour
                    alpha = np.asarray(picture.convert("RGBA"))[..., 3]
        except headers.FAILURES as error:
            raise UserError(f"{shown(path)} is damaged: {shown(error)}. Replace it or take it out of the data.") from error
    icc = b"" if head.mode == "CMYK" else info["icc_profile"]  # the image is RGB now
    return Copy(image, alpha, info["exif"], icc, info["xmp"], is_grey=is_grey)


def write(path: str | Path, copy: Copy) -> None:
    """Write a copy as PNG or TIFF, whichever `copy.ending` says, without loss."""
    planes = copy.planes
    if copy.ending == ".tif":
        _write_tiff(path, copy, planes)
        return
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[planes.shape[-1]]  # OpenCV's
    done, encoded = cv2.imencode(".png", np.ascontiguousarray(planes[..., order]))
    if not done:
        raise UserError(f"Cannot write {shown(path)} as PNG: an image of {planes.shape[0]}x{planes.shape[1]}. Cut it into tiles.")
    Path(path).write_bytes(_with_chunks(encoded.tobytes(), copy))


def enlarged(copy: Copy, image: Shaped[np.ndarray, "h w c"], factor: int) -> Copy:
    """Return the copy with an image `factor` times larger: transparency (bicubic), georeference and sizes in EXIF follow."""
    if factor == 1:
        return copy._replace(image=image)
    h, w = image.shape[:2]
    alpha = None if copy.alpha is None else cv2.resize(copy.alpha, (w, h), interpolation=cv2.INTER_CUBIC)
    return copy._replace(image=image, alpha=alpha, exif=_of_size(copy.exif, (h, w)), tags=georeference.enlarged(copy.tags, factor))


def _of_tiff(path: str | Path) -> dict[str, Any]:
    """Return the metadata of a TIFF's first image."""
    resolution, unit = None, 1
    with opened(path) as file:
        try:
            first = headers.tiff_directories(file)[0]
            kinds = {number: kind for number, kind in {**TEXTS, ORIENTATION: "H"}.items() if number in first}
            kept = [georeference.Tag(number, kind, _plain(first[number], kind)) for number, kind in kinds.items()]
            if set(RESOLUTION) <= set(first):
                resolution = tuple((int(first[number].numerator), int(first[number].denominator) or 1) for number in RESOLUTION)
                unit = int(first.get(UNIT, 2))
            icc, xmp = (bytes(first.get(number, b"")) for number in (34675, 700))
        except headers.FAILURES as error:
            raise UserError(f"{shown(path)} is damaged: {shown(error)}. Replace it or take it out of the data.") from error
    return {"icc": icc, "xmp": xmp, "tags": (*kept, *georeference.tags(path)), "resolution": resolution, "unit": unit}


def _plain(value: Any, kind: str) -> Any:
    if kind == "s":
        return value if isinstance(value, str) else str(value[0])
    return tuple(int(each) for each in value) if isinstance(value, tuple) else (int(value),)


def _write_tiff(path: str | Path, copy: Copy, planes: np.ndarray) -> None:
    import tifffile

    colours = planes.shape[-1] - (copy.alpha is not None)
    extra: list[Any] = [tag.as_extra for tag in copy.tags]
    extra += [(700, "B", len(copy.xmp), copy.xmp, True)] if copy.xmp else []
    tifffile.imwrite(
        path,
        planes[..., 0] if planes.shape[-1] == 1 else planes,
        photometric="rgb" if colours == 3 else "minisblack",
        planarconfig="contig" if planes.shape[-1] > 1 else None,
        extrasamples=["unassalpha"] if copy.alpha is not None else None,
        compression="zlib",
        iccprofile=copy.icc or None,
        resolution=copy.resolution,
        resolutionunit=copy.unit,
        metadata=None,
        software=False,
        extratags=extra,
    )


def _with_chunks(png: bytes, copy: Copy) -> bytes:
    """Return a PNG with the metadata as chunks after its header (PNG 3rd edition, sections 11.3.2.3, 11.3.3.3 and 11.3.4)."""
    header = 8 + 25  # signature, IHDR
    chunks = b""
    if copy.icc:
        chunks += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(copy.icc))
    if copy.exif:
        chunks += _chunk(b"eXIf", copy.exif.removeprefix(b"Exif\0\0"))
    if copy.xmp:
        chunks += _chunk(b"iTXt", XMP + b"\0\0\0\0\0" + copy.xmp)
    return png[:header] + chunks + png[header:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _of_size(exif: bytes, size: tuple[int, int]) -> bytes:
    """Return EXIF whose width and height, if it has them, are those of an image of `size` (h, w)."""
    tags = Image.Exif()
    if not exif:
        return exif
    tags.load(exif)
    block = tags.get_ifd(0x8769)
    for number, axis in SIZES.items():
        if number in block:
            block[number] = size[axis]
    return bytes(tags.tobytes())
