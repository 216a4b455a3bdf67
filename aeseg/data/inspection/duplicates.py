"""Exact duplicates (by bytes) and near-duplicates (by a perceptual hash of 240 bits: dHash, Krawetz 2013, on 16 x 16 pixels)."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import UInt8, UInt64

from aeseg.data.files import opened
from aeseg.data.inspection.scan import Seen

BITS = 12
"""Largest number of the 240 bits in which near-duplicates differ."""

FLAT = 4.0
"""Standard deviation of a small picture, in grey levels, below which its hash is meaningless."""

LEVELS = 8.0
"""Largest mean difference of the small pictures of near-duplicates, in grey levels, with equal means."""

MOST = 20_000
"""Largest number of images compared with one another; later images are left out."""

_CHUNK = 256


def hashes(pictures: UInt8[np.ndarray, "n s s"]) -> UInt64[np.ndarray, "n words"]:
    """Return the dHash of each small picture: a bit per pixel, set if it is brighter than its left neighbour, packed in words."""
    brighter = pictures[:, :, 1:] > pictures[:, :, :-1]
    bits = brighter.reshape(len(pictures), -1)
    padded = np.pad(bits, ((0, 0), (0, -bits.shape[1] % 64)))
    return np.packbits(padded, axis=1).view(np.uint64)


def near(pictures: Mapping[str, np.ndarray]) -> list[tuple[str, str]]:
    """Return pairs of paths with nearly equal pictures; flat pictures are left out."""
    paths = [path for path, small in sorted(pictures.items()) if small.std() >= FLAT][:MOST]
    if len(paths) < 2:
        return []
    small = np.stack([pictures[path] for path in paths])
    codes = hashes(small)
    flat = small.reshape(len(paths), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    pairs = []
    for start in range(0, len(paths), _CHUNK):
        block = codes[start : start + _CHUNK]
        apart = np.bitwise_count(block[:, None] ^ codes[None, start:]).sum(axis=-1, dtype=np.uint16)
        for row, column in zip(*np.nonzero(apart <= BITS), strict=True):
            first, second = start + int(row), start + int(column)
            if first < second and np.abs(flat[first] - flat[second]).mean() <= LEVELS:
                pairs.append((paths[first], paths[second]))
    return pairs


def same(root: str, files: Sequence[Seen]) -> list[tuple[str, str]]:
    """Return pairs of files with equal bytes, each paired with the first such file; only files of equal size are read."""
    sizes: dict[int, list[str]] = defaultdict(list)
    for file in files:
        if file.header is not None:
            sizes[file.bytes].append(file.path)
    first: dict[bytes, str] = {}
    pairs = []
    for paths in sizes.values():
        for path in paths if len(paths) > 1 else ():
            with opened(Path(root, path)) as handle:
                digest = hashlib.file_digest(cast(Any, handle), "sha256").digest()
            if digest in first:
                pairs.append((first[digest], path))
            first.setdefault(digest, path)
    return pairs


def clusters(names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Return, for each name, the first name of its cluster; pairs join clusters."""
    parent = {name: name for name in names}

    def top(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for first, second in pairs:
        if first in parent and second in parent:
            low, high = sorted((top(first), top(second)))
            parent[high] = low
    return [top(name) for name in names]
