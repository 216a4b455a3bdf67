"""Survey of a sample of files, once for all splits of a data set: the coding of labels, the range of 16-bit images."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aeseg.data import coding as codings
from aeseg.data import decode
from aeseg.data.classes import Table
from aeseg.data.coding import Coding
from aeseg.data.decode import Stored
from aeseg.data.files import few, shown
from aeseg.data.reading import Reading
from aeseg.types import UserError

FILES = 64
"""Label files in a sample; half as many images."""

RARE = 5_000
"""Label files searched for a value other than 0, if the sample has none."""

_DEPTHS = (10, 12, 14, 15, 16)  # bit depths that cameras and scanners store in 16 bits


def coding(paths: Sequence[Path], table: Table, coding: str, threshold: int, snap: float, reading: Reading) -> Coding:
    """Decide the coding of label images from a sample spread evenly over `paths`; skip unreadable files."""
    if threshold:
        _check_threshold(spread(paths, FILES // 2), threshold, reading)
        return codings.decide(codings.Findings(), table, "ids")
    sample = []
    error: UserError | None = None
    for path in spread(paths, FILES):
        try:
            sample.append((str(path), decode.stored(path, reading=reading)))
        except UserError as failure:  # raised again when its record is read
            error = failure
    if not sample and error:
        raise error
    contents = codings.findings(sample)
    if coding == "auto" and not contents.values - {0} and not contents.indices | contents.alphas and not contents.colours:
        contents = codings.findings([*sample, *_first_with_more(paths, reading)])
    decided = codings.decide(contents, table, coding, snap)
    if not snap:
        return decided
    moved = np.mean([codings.strange(stored, decided) for _, stored in sample])
    said = f"snap: {100 * moved:.2g} % of the pixels of {len(sample)} labels take the nearest class"
    return decided._replace(notes=(*decided.notes, said))


def _first_with_more(paths: Sequence[Path], reading: Reading) -> list[tuple[str, Stored]]:
    """Return the first label with a value other than 0, in a fixed random order of at most `RARE`: a sample may miss rare foreground."""
    for index in np.random.default_rng(0).permutation(len(paths))[:RARE]:
        try:
            stored = decode.stored(paths[int(index)], reading=reading)
        except UserError:
            continue
        if stored.values.any():
            return [(str(paths[int(index)]), stored)]
    return []


def ranged(paths: Sequence[Path], reading: Reading) -> tuple[Reading, tuple[str, ...]]:
    """Return the reading with the range of 16-bit images that use fewer bits, and a note about it."""
    if not paths or not is_ranged(paths[0], reading):
        return reading, ()
    sample = spread(paths, FILES // 2)
    largest = 0
    for path in sample:
        try:
            if _dtype(path) == "uint16":
                largest = max(largest, int(decode.raw(path, reading=reading).max()))
        except UserError:
            continue
    bits = next(depth for depth in _DEPTHS if largest < 2**depth)
    if bits == 16:
        return reading, ()
    most = float(2**bits - 1)
    said = f"16-bit images hold at most {largest:,}: read as {bits} bits, value_range=(0, {most:.0f})"
    return dataclasses.replace(reading, value_range=(0.0, most), strict=True), (said,)


def is_ranged(path: Path, reading: Reading) -> bool:
    """Return whether the survey sets an image's range: 16 bits, and no stated range."""
    return reading.value_range == (0, 0) and _dtype(path) == "uint16"


def bits(path: Path) -> int:
    """Return the bits of a channel in memory, 8 or 16, for images stored like this one."""
    return 8 if _dtype(path) in ("", "bool", "uint8", "int8") else 16


def spread(paths: Sequence[Any], most: int) -> list[Any]:
    """Return at most `most` items of a sequence, evenly spaced, including the first and the last."""
    if len(paths) <= most:
        return list(paths)
    return [paths[index] for index in np.linspace(0, len(paths) - 1, most).round().astype(int)]


def _check_threshold(paths: Sequence[Path], threshold: int, reading: Reading) -> None:
    values: set[int] = set()
    for path in paths:
        try:
            values |= set(np.unique(decode.image(path, 1, reading=reading)).tolist())
        except UserError:
            continue
    if values and 0 < max(values) < threshold:
        raise UserError(
            f"No pixel of {len(paths)} labels below {shown(paths[0].parent)} reaches binary_threshold={threshold}; the values found are "
            f"{few(sorted(values), 12)}. Set binary_threshold={max(values)}, or coding='mask' with binary_threshold=0."
        )


def _dtype(path: Path) -> str:
    try:
        return decode.header(path).dtype
    except UserError:
        return ""
