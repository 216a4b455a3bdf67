"""Files of JSON lines, which several processes append to at once."""

import fcntl
import json
import os
from typing import Any

from aeseg.types import UserError


def read(path: str) -> list[dict[str, Any]]:
    """The lines of a file of JSON lines, oldest first; none where there is no file."""
    if not os.path.exists(path):
        return []
    found = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                found.append(json.loads(line))
            except ValueError as error:
                raise UserError(f"Line {number} of {path} is not JSON ({error}). Mend it or remove it.") from error
    return found


def write(path: str, line: dict[str, Any]) -> None:
    """Add a line to a file of JSON lines, whole or not at all, while no other process does."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    text = (json.dumps(line) + "\n").encode()
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        size = os.fstat(file).st_size
        try:
            if os.write(file, text) != len(text):
                raise OSError(None, "it took a part of the line only")
        except OSError as error:
            os.ftruncate(file, size)
            raise UserError(f"Cannot write to {path}: {error.strerror}. Free some space, or mend its permissions.") from error
    finally:
        os.close(file)
