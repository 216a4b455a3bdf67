"""JSON lines files, to which several processes may append at once."""

import json
import os
from typing import Any

from aeseg import files
from aeseg.types import UserError


def read(path: str) -> list[dict[str, Any]]:
    """Return the objects of a JSON lines file, oldest first; empty if the file does not exist."""
    if not os.path.exists(path):
        return []
    rows = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise UserError(f"Line {number} of {path} is not JSON ({error}). Correct it or remove it.") from error
    return rows


def write(path: str, line: dict[str, Any]) -> None:
    """Append a line to a JSON lines file atomically, under a lock."""
    files.append(path, (json.dumps(line) + "\n").encode())
