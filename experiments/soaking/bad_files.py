"""Bad images, labels and annotations, which `inputs` writes beside good files."""

import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

Write = Callable[[Path], object]
"""Writes a bad file to a path."""


def png(pixels: np.ndarray) -> bytes:
    """Encode an image as PNG."""
    return bytes(cv2.imencode(".png", pixels)[1])


def claimed(width: int, height: int, depth: int = 8, colours: int = 2) -> bytes:
    """Return a PNG whose header states the given size and whose pixels are a few bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def bmp(width: int, height: int) -> bytes:
    """Return a BMP whose header states the given size."""
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(100)


def tiff(width: int, height: int) -> bytes:
    """Return a TIFF whose header states the given size."""
    tags = ((256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8), (279, 4, 1, 100))
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0) + bytes(100)


def images(dice: np.random.Generator) -> Iterator[tuple[str, str, Write]]:
    """Yield (name, file suffix, function that writes it) of bad images."""
    good = png(dice.integers(0, 256, (20, 24, 3)).astype(np.uint8))
    jpeg = bytes(cv2.imencode(".jpg", dice.integers(0, 256, (20, 24, 3)).astype(np.uint8))[1])
    contents = {
        "empty.png": b"",
        "text.png": b"not a picture",
        "zeros.png": bytes(4096),
        "header alone.png": good[:8],
        "without pixels.png": good[:40],
        "half.png": good[: len(good) // 2],
        "half.jpg": jpeg[: len(jpeg) // 2],
        "marker alone.jpg": jpeg[:3],
        "of no width.png": claimed(0, 8),
        "of no height.png": claimed(8, 0),
        "of depth 3.png": claimed(8, 8, depth=3),
        "of colours 9.png": claimed(8, 8, colours=9),
        "50,000 squared.png": claimed(50_000, 50_000),
        "2 G squared.png": claimed(2**31 - 1, 2**31 - 1),
        "4 G squared.png": claimed(2**32 - 1, 2**32 - 1),
        "a long row.png": claimed(2**31 - 1, 1),
        "short of pixels.png": claimed(64, 64),
        "2 G squared.bmp": bmp(2**31 - 1, 2**31 - 1),
        "of negative sides.bmp": bmp(-8, -(2**31)),
        "2 G squared.tif": tiff(2**31 - 1, 2**31 - 1),
        "4 G wide.tif": tiff(2**32 - 1, 1),
        "offsets past the end.tif": b"II*\0" + struct.pack("<I", 2**31),
        "a loop of pages.tif": b"II*\0" + struct.pack("<I", 8) + struct.pack("<HI", 0, 8),
        "garbage.webp": b"RIFF\xff\xff\xff\xffWEBP" + bytes(50),
        "garbage.gif": b"GIF89a" + b"\xff" * 50,
        "npy of objects.npy": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(128) + b"\n",
    }
    for number in range(12):
        spoilt = bytearray(good if number % 2 else jpeg)
        for position in dice.integers(0, len(spoilt), 8):
            spoilt[position] ^= 1 << int(dice.integers(8))
        contents[f"flipped bits {number}.{'png' if number % 2 else 'jpg'}"] = bytes(spoilt)
    for name, content in contents.items():
        yield name.rpartition(".")[0], name.rpartition(".")[2], lambda path, content=content: path.write_bytes(content)  # type: ignore[misc]
    yield "a folder", "png", lambda path: path.mkdir()
    yield "a pipe", "png", lambda path: os.mkfifo(path)
    yield "a link to /dev/zero", "png", lambda path: path.symlink_to("/dev/zero")
    yield "a link to nothing", "png", lambda path: path.symlink_to("/nothing")
    yield "a link to itself", "png", lambda path: path.symlink_to(path)
    yield "20 GB of nothing", "png", _sparse
    yield "20 GB of nothing", "tif", _sparse


def labels(dice: np.random.Generator) -> Iterator[tuple[str, str, Write]]:
    """Yield (name, file, function that writes it) of bad labels of 16x16 images 0..7 with the classes a, b and c."""
    whole = dice.integers(0, 3, (16, 16)).astype(np.uint8)
    pictures = {
        "of another size": whole[:, :12],
        "transposed and cut": whole[:15].T,
        "with the value 3": np.where(whole == 2, 3, whole),
        "with the value 254": np.where(whole == 2, 254, whole),
        "of 16 bits with 1000": np.where(whole == 2, np.uint16(1000), whole),
        "in colours": dice.integers(0, 256, (16, 16, 3)).astype(np.uint8),
        "of one pixel": whole[:1, :1],
    }
    for name, pixels in pictures.items():
        yield f"a label {name}", "labels/3.png", lambda path, pixels=pixels: path.write_bytes(png(pixels))  # type: ignore[misc]
    for name, ending, write in images(dice):
        if ending == "png":
            yield f"a label: {name}", "labels/3.png", write


def annotations() -> Iterator[tuple[str, str, str]]:
    """Yield (name, file, text) of bad annotations: YOLO lines, LabelMe JSON and COCO JSON."""
    lines = ("x 0 0 0 1 1 1", "0 0.5", "0 .1 .1 .2 .2", "9 0 0 0 1 1 1", "-1 0 0 0 1 1 1", "0.5 0 0 0 1 1 1", "0 nan nan inf 1 1 1", "\0\0")
    for line in (*lines, "0 " + "1e400 " * 6, "1 0 0 0 1 1 1 1", "1 " + "9e18 " * 6):
        yield f"YOLO: {line[:20]!r}", "3.txt", line
    shape = {"label": "a", "shape_type": "polygon", "points": [[0, 0], [0, 9], [9, 9]]}
    shapes = (
        {**shape, "label": "z"},
        {**shape, "points": []},
        {**shape, "points": "x"},
        {**shape, "points": [[0]]},
        {**shape, "points": [[0, None], [1, 1], [2, 2]]},
        {**shape, "shape_type": "spiral"},
        {**shape, "label": 5},
        {"points": 3},
        7,
    )
    for number, bad in enumerate(shapes):
        yield f"LabelMe: shape {number}", "3.json", json.dumps({"shapes": [bad], "imageHeight": 16, "imageWidth": 16})
    for text in ("", "{", "[]", "null", "{}", '{"shapes": 3}', '{"shapes": {}}', "[" * 100_000):
        yield f"LabelMe: {text[:15]!r}", "3.json", text


def _sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(20 * 2**30)
