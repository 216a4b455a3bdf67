"""Files of JSON lines, which several processes append to at once."""

import json
import os
from typing import Any


def read(path: str) -> list[dict[str, Any]]:
    """The lines of a file of JSON lines, oldest first; none where there is no file."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write(path: str, line: dict[str, Any]) -> None:
    """Add a line to a file of JSON lines: by a single write at its end, so that several processes do not mix theirs."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, (json.dumps(line) + "\n").encode())
    finally:
        os.close(file)
