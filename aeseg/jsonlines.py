"""Files of JSON lines, which several processes append to at once."""

import json
import os
from typing import Any

from aeseg import files
from aeseg.types import UserError


def read(path: str) -> list[dict[str, Any]]:
    """The lines of a file of JSON lines, oldest first; none where there is no file."""
    if not os.path.exists(path):
        return []
    rows = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise UserError(f"Line {number} of {path} is not JSON ({error}). Mend it or remove it.") from error
    return rows


def write(path: str, line: dict[str, Any]) -> None:
    """Add a line to a file of JSON lines, whole or not at all, while no other process does."""
    files.append(path, (json.dumps(line) + "\n").encode())
