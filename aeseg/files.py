"""Files on disk: written atomically, read as far as possible, moved aside rather than overwritten.

Contents reach the disk (fsync) before the name does, so a power cut leaves the old file or the new one.  Appending is safe among
processes of one machine (flock); on NFS it is as safe as the server's locks.
"""

import contextlib
import errno
import fcntl
import itertools
import json
import os
import secrets
from collections.abc import Iterator
from typing import Any

from aeseg.types import UserError

REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS)
"""Error numbers of the operating system for missing space and permission."""


def refusal(path: str, error: OSError) -> UserError:
    """Return the error message for a write that the operating system refused."""
    return UserError(f"Cannot write to {path}: {error.strerror or error}. Free some space or name another --workdir.")


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """Yield a temporary name to write to; at the end the file atomically replaces `path`.

    Creates the folder.  After an error, `path` is unchanged and the temporary file is removed; an OSError becomes a UserError.
    A link at `path` is replaced, not followed.
    """
    folder = os.path.dirname(path) or "."
    temporary = f"{path}.{secrets.token_hex(8)}.tmp"  # processes of several hosts may share a number
    try:
        os.makedirs(folder, exist_ok=True)
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(folder)
    except OSError as error:
        raise refusal(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            os.remove(temporary)


def write(path: str, contents: str | bytes) -> None:
    """Write a file atomically; text as UTF-8."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(contents.encode() if isinstance(contents, str) else contents)


def append(path: str, contents: bytes) -> None:
    """Append to a file atomically, under a lock; create the file and its folder."""
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    except OSError as error:
        raise refusal(path, error) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        size = os.fstat(file).st_size
        try:
            if os.write(file, contents) != len(contents):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(file, size)
            raise refusal(path, error) from error
    finally:
        os.close(file)


def free_name(path: str) -> str:
    """Return the first of `path`.damaged, `path`.damaged-2, ... that does not exist."""
    names = itertools.chain([f"{path}.damaged"], (f"{path}.damaged-{number}" for number in itertools.count(2)))
    return next(name for name in names if not os.path.lexists(name))


def move_aside(path: str) -> str:
    """Rename to `free_name(path)`; return the new name."""
    new = free_name(path)
    try:
        os.rename(path, new)
    except OSError as error:
        raise refusal(path, error) from error
    return new


def read_json(path: str, remedy: str = "Restore the file, or move it away.") -> dict[str, Any]:
    """Return the object in a JSON file.  UserError if it is not JSON or not an object; OSError if the file cannot be opened."""
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({str(error)[:80]}). {remedy}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} must hold a JSON object, {{...}}; it holds a {type(value).__name__}. {remedy}")
    return value


def json_object(path: str) -> dict[str, Any]:
    """Return the object in a JSON file; {} if there is none that can be read."""
    try:
        return read_json(path)
    except (UserError, OSError):
        return {}


def json_objects(path: str) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Return (objects of a JSON lines file, lines that are not objects); both empty if the file does not exist.

    Byte 10 separates lines, and empty lines are skipped.  The last line needs no end of line.
    """
    if not os.path.exists(path):
        return [], []
    with open(path, "rb") as file:
        lines = [line for line in file.read().split(b"\n") if line.strip()]
    values = [_parsed(line) for line in lines]
    objects = [value for value in values if isinstance(value, dict)]
    return objects, [line for line, value in zip(lines, values, strict=True) if not isinstance(value, dict)]


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _sync(path: str) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot sync a folder
            raise
    finally:
        os.close(file)
