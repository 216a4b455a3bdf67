"""Caption and sound of a scene, from its label map and depth."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from aeseg.types import Class

CAPTION = 160
"""Bytes of a caption, padded with zeros: enough for five objects."""
RATE = 16_000
"""Samples per second of sound."""
PITCH = (220, 262, 330, 392, 494, 587, 740)
"""Frequency of each class of shapes, in hertz."""
ROWS, COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")


class Shape(NamedTuple):
    """The visible part of one object: its class, the fraction of the image that it covers, and its centre in 0..1."""

    kind: int
    area: float
    row: float
    column: float


def shapes(label: UInt8[np.ndarray, "h w"], depth: Float32[np.ndarray, "h w"]) -> list[Shape]:
    """Return the objects of a scene, nearest first.  Each object has its own depth; the background has depth 1."""
    visible = []
    for near in np.unique(depth[label > 0]):
        rows, columns = np.nonzero((depth == near) & (label > 0))
        middle = (
            np.sum(2 * indices + 1) / (2 * indices.size * side) for indices, side in ((rows, label.shape[0]), (columns, label.shape[1]))
        )
        visible.append(Shape(int(label[rows[0], columns[0]]), rows.size / label.size, *map(float, middle)))
    return visible


def caption(objects: Sequence[Shape], classes: Sequence[Class]) -> str:
    """Describe the objects, nearest first: "a ring at the top left, then a disc at the middle centre"; "nothing" without objects."""
    words = [f"a {classes[each.kind].name} at the {ROWS[int(3 * each.row)]} {COLUMNS[int(3 * each.column)]}" for each in objects]
    return ", ".join(words) or "nothing"


def as_bytes(text: str, length: int = CAPTION) -> UInt8[np.ndarray, "{length}"]:
    """Encode the text as UTF-8, padded with zeros or cut to `length`."""
    data = text.encode()[:length]
    return np.frombuffer(data.ljust(length, b"\0"), np.uint8).copy()


def sound(objects: Sequence[Shape]) -> Float32[np.ndarray, "16000 2"]:
    """Return one second of stereo sound in [-1, 1].  An object's area sets its loudness, and its position the balance.

    Each class has its own pitch, and its own fraction of the octave above, from 0 to 3/7.  Waves are triangles, because the last bit of
    a sine differs between machines.
    """
    time = np.arange(RATE)
    total = np.zeros((RATE, 2))
    for each in objects:
        low, high = (1 - 4 * np.abs(time * PITCH[each.kind - 1] * octave % RATE / RATE - 0.5) for octave in (1, 2))
        share = (each.kind - 1) / 14
        wave = (1 - share) * low + share * high
        total += each.area * wave[:, None] * np.array([1 - each.column, each.column])
    return total.astype(np.float32)
