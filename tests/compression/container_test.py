import struct
import zlib

import numpy as np
import pytest

from aeseg.compression import container
from aeseg.compression.container import Header
from aeseg.types import UserError

WORDS = np.arange(5, dtype=np.uint32) * 7919 * 65_537
HEADER = Header(3, -2, 360, 480, b"identity", 11, 22, 5)
CONTENT = container.written(HEADER, WORDS)


def resealed(content):
    """Return a file with a correct checksum."""
    return content[:-4] + struct.pack("<I", zlib.crc32(content[:-4]))


def test_a_header_of_39_bytes_and_the_words_come_back():
    assert len(CONTENT) == 39 + 4 * 5 == container.SIZE + 20
    header, words = container.read(CONTENT, "a.aeseg")
    assert header == HEADER
    np.testing.assert_array_equal(words, WORDS)


def test_every_flipped_bit_and_every_cut_is_refused():
    for place in range(len(CONTENT)):
        wrong = bytearray(CONTENT)
        wrong[place] ^= 1 << (place % 8)
        with pytest.raises(UserError, match=r"a.aeseg (is damaged|is not a compressed image)"):
            container.read(bytes(wrong), "a.aeseg")
        with pytest.raises(UserError, match=r"a.aeseg (is damaged|is not a compressed image)"):
            container.read(CONTENT[:place], "a.aeseg")
    with pytest.raises(UserError, match=r"is damaged: its checksum does not fit its 60 bytes. Copy or compress it again."):
        container.read(CONTENT + b"x", "a.aeseg")


def test_another_version_and_a_foreign_file_are_named():
    with pytest.raises(UserError, match=r"has version 9; this aeseg reads version 1. Use the aeseg that wrote it."):
        container.read(resealed(CONTENT[:4] + b"\x09" + CONTENT[5:]), "a.aeseg")
    with pytest.raises(UserError, match=r"is not a compressed image of aeseg, which begins with AESG. Give a file that `compress` wrote."):
        container.read(b"\x89PNG\r\n", "a.aeseg")


@pytest.mark.parametrize(
    "fields", [{"height": 2**32 - 1, "width": 2**32 - 1}, {"height": 0}, {"channels": 0}, {"words": 2**32 - 1}, {"words": 4}]
)
def test_a_header_that_lies_is_refused_before_anything_is_allocated(fields):
    with pytest.raises(UserError, match=r"a.aeseg has an impossible header: "):
        container.read(container.written(HEADER._replace(**fields), WORDS), "a.aeseg")


def test_a_checksum_does_not_depend_on_byte_order_but_on_values():
    values = np.arange(6, dtype="<i8")
    assert container.checksum(values) == container.checksum(values.astype(">i8"))
    assert container.checksum(values) != container.checksum(values + 1)
