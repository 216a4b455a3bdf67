"""The bytes of a compressed image: a header of fixed size, and the words of the range coder."""

import struct
import zlib
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt32

from aeseg.types import UserError

MAGIC, VERSION, SUFFIX = b"AESG", 1, ".aeseg"
_LAYOUT = struct.Struct("<4sBBbII8sIII")
_SUM = struct.Struct("<I")
SIZE = _LAYOUT.size + _SUM.size
"""Bytes of the header, with its checksum."""

LARGEST = 2**30
"""Most pixels of an image."""


class Header(NamedTuple):
    """Fields of a header.

    channels      of the image, 8 bits each
    coarser       steps of scale by which y was quantised more coarsely
    identity      of the network (`Codec.identity`)
    codes         checksum of z, y, the levels of scale, and the fields above but the identity
    pixels        checksum of the decoded image
    words         number of words of the range coder
    """

    channels: int
    coarser: int
    height: int
    width: int
    identity: bytes
    codes: int
    pixels: int
    words: int


def written(header: Header, words: UInt32[np.ndarray, "n"]) -> bytes:
    """Return the bytes of a file; the last four are the checksum of all others."""
    fields = (header.height, header.width, header.identity, header.codes, header.pixels, header.words)
    content = _LAYOUT.pack(MAGIC, VERSION, header.channels, header.coarser, *fields) + words.astype("<u4").tobytes()
    return content + _SUM.pack(zlib.crc32(content))


def read(content: bytes, name: str) -> tuple[Header, UInt32[np.ndarray, "n"]]:
    """Return (header, words) of a file; raise UserError if it is foreign, damaged, of another version, or of an impossible size."""
    if content[:4] != MAGIC:
        raise UserError(
            f"{name} is not a compressed image of aeseg, which begins with {MAGIC.decode()}. Give a file that `compress` wrote."
        )
    if len(content) < SIZE or zlib.crc32(content[:-4]) != _SUM.unpack(content[-4:])[0]:
        raise UserError(f"{name} is damaged: its checksum does not fit its {len(content):,} bytes. Copy or compress it again.")
    _, version, channels, coarser, *rest = _LAYOUT.unpack(content[: _LAYOUT.size])
    if version != VERSION:
        raise UserError(f"{name} has version {version}; this aeseg reads version {VERSION}. Use the aeseg that wrote it.")
    header = Header(channels, coarser, *rest)
    if not (0 < header.height * header.width <= LARGEST and channels > 0 and SIZE + 4 * header.words == len(content)):
        raise UserError(
            f"{name} has an impossible header: {header.height:,} x {header.width:,} pixels, {channels} channels, {header.words:,} words in "
            f"{len(content):,} bytes. It was not written by `compress`."
        )
    return header, np.frombuffer(content, "<u4", header.words, _LAYOUT.size).astype(np.uint32)


def checksum(*arrays: np.ndarray) -> int:
    """Return a checksum of arrays, equal on machines of any byte order."""
    total = 0
    for array in arrays:
        total = zlib.crc32(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes(), total)
    return total
