"""Description of a data set as JSON, for other commands: the fields that all splits share, and the fields of each split.

{"source": {"target": "aeseg.data.sources.folder:Folder", "root": ..., ...}, "train": {...}, "validation": {...}, "test": {...}}
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aeseg import files, spec
from aeseg.data.files import shown, text
from aeseg.data.groups import SPLITS
from aeseg.data.sources.folder import Folder
from aeseg.types import UserError

KEYS = ("source", *SPLITS)


def of(root: str, fields: Mapping[str, Any], splits: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the description of a `Folder` with these fields.  It includes all defaults, so later versions read it alike."""
    source = spec.plain(spec.spec(Folder, root=os.path.abspath(root), **fields))
    return {"source": source, **{split: dict(splits.get(split, {})) for split in SPLITS}}


def write(path: Path, description: Mapping[str, Any]) -> None:
    """Write a description as JSON."""
    files.write(str(path), json.dumps(description, indent=2, ensure_ascii=False) + "\n")


def read(path: str | Path) -> dict[str, Any]:
    """Read a description; UserError if the file is not one.  `spec.build` builds its targets and checks them."""
    try:
        content = json.loads(text(path, "data description"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"The data description {shown(path)} is not JSON ({error}). Write it with: inspect <folder>.") from error
    fits = isinstance(content, dict) and set(content) == set(KEYS) and all(isinstance(content[key], dict) for key in KEYS)
    if not fits or not isinstance(content["source"].get("target"), str):
        raise UserError(
            f"{shown(path)} should hold {', '.join(KEYS)}, each an object, source with a target. Write it with: inspect <folder>."
        )
    return spec.plain(spec.from_json(json.dumps(content)))
