"""Safe reading of user files: only regular files are opened, and printed names contain no control characters."""

import io
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from aeseg.types import UserError

IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".npy", ".png", ".tif", ".tiff", ".webp")
"""File name endings of images, in lower case."""

LABELS = (*IMAGES, ".json", ".txt")
"""File name endings of labels: images, LabelMe's .json and YOLO's .txt."""

if TYPE_CHECKING:
    from typing import BinaryIO

    File = BinaryIO
else:
    File = io.BufferedIOBase  # the common base of open files and io.BytesIO at run time

TEXT_LIMIT = 2**26
"""Bytes of the largest text file that is read: a list, a class table, the annotation of one image."""


def opened(path: str | Path, name: str = "") -> File:
    """Open a regular file for reading.  A FIFO, device, socket or folder raises a UserError, also behind a link."""
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
    """Return the number of bytes of an open file or of bytes in memory."""
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
    """Return a printable name: line breaks, terminal escapes and undecodable bytes are escaped, as in \\x1b."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode() for letter in str(name))


def few(words: Iterable[object], most: int = 5) -> str:
    """Return the first `most` words, made printable, and the number of the others."""
    printed = [shown(word) for word in words]
    return ", ".join(printed[:most]) + (f" and {len(printed) - most} more" if len(printed) > most else "")


def is_inside(path: str | Path, root: str | Path) -> bool:
    """Return whether a path, with its links resolved, is `root` or below it."""
    path, root = (os.path.abspath(os.path.join(root, part)) for part in (path, "."))
    return path == root or path.startswith(os.path.join(root, ""))


def _kind(mode: int) -> str:
    """Return the kind of a special file, or "" for a regular file."""
    kinds = {stat.S_ISFIFO: "FIFO", stat.S_ISCHR: "device", stat.S_ISBLK: "device", stat.S_ISSOCK: "socket", stat.S_ISDIR: "folder"}
    return next((kind for test, kind in kinds.items() if test(mode)), "" if stat.S_ISREG(mode) else "special file")
