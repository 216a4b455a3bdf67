"""Threaded scan of a folder: headers of all images, and small grey pictures of as many as the time allows."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from aeseg.data import decode, headers
from aeseg.data.files import opened
from aeseg.data.headers import Header
from aeseg.data.reading import Reading
from aeseg.types import UserError

SIDE = 16
"""Side of a small picture in pixels."""

_FULL = Reading(pages="0")


class Seen(NamedTuple):
    """An image file: its path below the root, its header (None with an `error` if unreadable), its bytes."""

    path: str
    header: Header | None
    error: str
    bytes: int


def seen(root: str, paths: Sequence[str], threads: int = 0) -> list[Seen]:
    """Read the header of each file, in order."""
    return _mapped(lambda path: _header(root, path), paths, threads)


def pictures(
    root: str, files: Sequence[Seen], seconds: float | int, threads: int = 0, clock: Callable[[], float] = time.monotonic
) -> dict[str, UInt8[np.ndarray, "s s"]]:
    """Return {path: grey picture of 16 x 16} of as many files as `seconds` allow, evenly spread; unreadable files are left out."""
    readable = [file for file in files if file.header is not None]
    order = np.random.default_rng(0).permutation(len(readable))
    until = clock() + seconds

    def picture(index: int) -> tuple[str, np.ndarray | None]:
        file = readable[index]
        return file.path, _picture(root, file) if clock() < until else None

    return {path: small for path, small in _mapped(picture, [int(index) for index in order], threads) if small is not None}


def workers() -> int:
    """Return the number of threads: one for each core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _mapped(task: Callable[[Any], Any], items: Sequence[Any], threads: int) -> list[Any]:
    with ThreadPoolExecutor(threads or workers()) as pool:
        return list(pool.map(task, items, chunksize=16))


def _header(root: str, path: str) -> Seen:
    try:
        with opened(Path(root, path)) as file:
            header = headers.read(file, path)
        if header.height * header.width * max(1, header.channels // 4) > headers.PIXELS_LIMIT:
            return Seen(path, None, f"{path} says it has {header.height:,}x{header.width:,} pixels", 0)
        return Seen(path, header, "", os.path.getsize(Path(root, path)))
    except (UserError, OSError) as error:
        return Seen(path, None, str(error), 0)


def _picture(root: str, file: Seen) -> np.ndarray | None:
    """Return a small grey picture; a JPEG is decoded at an eighth of its size, for speed."""
    try:
        head = file.header
        if head is None:
            return None
        if head.kind in ("JPEG", "MPO") and min(head.height, head.width) >= 16 * SIDE:
            with opened(Path(root, file.path)) as handle:
                data = np.frombuffer(handle.read(), np.uint8)
            grey: Any = cv2.imdecode(data, cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_IGNORE_ORIENTATION)
        elif head.plain and head.dtype in ("uint8", "uint16", "bool"):
            grey = decode.image(Path(root, file.path), 1, reading=_FULL)[..., 0]
        else:
            grey = _stretched(decode.raw(Path(root, file.path), reading=_FULL))
        return None if grey is None else cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    except (UserError, cv2.error):
        return None


def _stretched(pixels: np.ndarray) -> np.ndarray:
    """Return the mean over the channels, stretched from its smallest to its largest value."""
    grey = np.nan_to_num(pixels.astype(np.float64).mean(axis=-1))
    low, high = grey.min(), grey.max()
    return np.rint((grey - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)
