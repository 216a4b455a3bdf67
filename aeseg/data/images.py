"""The image of a record, from one file or from one file per channel."""

from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from aeseg.data import decode
from aeseg.data.files import few, shown
from aeseg.data.matching import Files
from aeseg.data.reading import Reading
from aeseg.types import UserError


def read_image(root: str, files: Files, channels: int, reading: Reading) -> Shaped[np.ndarray, "h w c"]:
    """Read a record's image; if each channel has a file, join them in the order of their names."""
    if not files.bands:
        return decode.image(Path(root, files.image), channels, reading=reading)
    paths = (files.image, *files.bands)
    if len(paths) != channels:
        raise UserError(f"{shown(files.name)} has {len(paths)} files of channels, {few(paths)}; channels is {channels}. Set it so.")
    bands = [decode.image(Path(root, path), 1, reading=reading) for path in paths]
    for path, band in zip(paths, bands, strict=True):
        check_size(root, reading, files.image, bands[0], path, band)
    return np.concatenate(bands, axis=-1)


def check_size(root: str, reading: Reading, image_file: str, image: np.ndarray, file: str, other: np.ndarray) -> None:
    """Raise UserError if another file of a record differs in size from its image."""
    (h, w), (other_h, other_w) = image.shape[:2], other.shape[:2]
    if (h, w) != (other_h, other_w):
        raise UserError(
            f"{f'In {shown(root)}, ' if root else ''}{shown(image_file)} is {h}x{w} (height x width) and {shown(file)} is "
            f"{other_h}x{other_w}. They must be of one size: replace one of them. (Both are read with orientation={reading.orientation!r}.)"
        )
