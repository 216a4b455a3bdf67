"""Files that a reader may hand us: opened only if regular, read only as far as asked, named without control characters."""

import io
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from aeseg.types import UserError

IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".npy", ".png", ".tif", ".tiff", ".webp")
"""Endings, in small letters, of image files."""

LABELS = (*IMAGES, ".json", ".txt")
"""Endings of label files: images, LabelMe's .json and YOLO's .txt."""

if TYPE_CHECKING:
    from typing import BinaryIO

    File = BinaryIO
else:
    File = io.BufferedIOBase  # what open files and io.BytesIO are at run time

TEXT_LIMIT = 2**26
"""Bytes of the largest text file (list, class table, annotation of one image) that is read."""


def opened(path: str | Path, name: str = "") -> File:
    """Open a regular file to read; a FIFO, device, socket or folder is a UserError, also behind a link."""
    name = shown(name or path)
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a FIFO would wait for a writer
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", "") or str(error)
        raise UserError(f"Cannot read {name}: {reason}. Check the path and its permissions.") from error
    kind = _kind(os.fstat(descriptor).st_mode)
    if kind:
        os.close(descriptor)
        raise UserError(f"{name} is a {kind}; expected a regular file. Take it out of the data.")
    return open(path, "rb", opener=lambda *_: descriptor)  # unlike fdopen, the file knows its name


def size(file: File) -> int:
    """Bytes of an open file or of bytes in memory."""
    here = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(here)
    return end


def text(path: str | Path, what: str, limit: int = TEXT_LIMIT) -> str:
    """Read a text file: UTF-8 with or without BOM, or UTF-16 with BOM.  `what` names the file's purpose in errors."""
    with opened(path, f"the {what} {path}") as file:
        if size(file) > limit:
            raise UserError(f"The {what} {shown(path)} has {size(file):,} bytes; expected at most {limit:,}. Is it a text file?")
        data = file.read(limit)
    utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"The {what} {shown(path)} is not UTF-8 or UTF-16 text ({error}). Save it as UTF-8.") from error


def shown(name: object) -> str:
    """A name as it may be printed: line breaks, terminal escapes and undecodable bytes escaped as \\x1b."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode() for letter in str(name))


def few(words: Iterable[object], most: int = 5) -> str:
    """The first words, shown, and how many more there are."""
    printed = [shown(word) for word in words]
    return ", ".join(printed[:most]) + (f" and {len(printed) - most} more" if len(printed) > most else "")


def is_inside(path: str | Path, root: str | Path) -> bool:
    """Return whether a path, links aside, lies in or below `root`."""
    path, root = (os.path.abspath(os.path.join(root, part)) for part in (path, "."))
    return path == root or path.startswith(os.path.join(root, ""))


def _kind(mode: int) -> str:
    """The kind of what is not a regular file; "" for a regular one."""
    kinds = {stat.S_ISFIFO: "FIFO", stat.S_ISCHR: "device", stat.S_ISBLK: "device", stat.S_ISSOCK: "socket", stat.S_ISDIR: "folder"}
    return next((kind for test, kind in kinds.items() if test(mode)), "" if stat.S_ISREG(mode) else "special file")
