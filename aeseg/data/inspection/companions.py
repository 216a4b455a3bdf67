"""Further modalities of a folder: folders beside the images with planes, captions or sounds of the images' names."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aeseg.data.files import IMAGES
from aeseg.data.inspection.suggestions import Suggestion
from aeseg.data.listing import files_below
from aeseg.data.modalities import audio
from aeseg.data.sources.folder import Folder
from aeseg.types import UserError

FIELDS = {"aligned": IMAGES, "captions": (".txt",), "audio": audio.KINDS}
"""Endings of the files that a field of `Folder` reads."""

KEYS = {"captions": "caption", "audio": "sound"}
"""Entry of the records that a field reads, if it is not the folder's name."""


def suggested(source: Folder) -> list[Suggestion]:
    """Suggest `aligned`, `captions` and `audio` for folders that the source does not read and whose files match its images.

    Opens the files of the first record only.
    """
    suggestions = []
    for field, kinds in FIELDS.items():
        if getattr(source, field):
            continue
        names = [name for name in _beside(source) if _files(source, name, kinds) and _readable(source, field, name)]
        if not names:
            continue
        value = tuple(names) if field == "aligned" else names[0]
        flag = f'--{field}="{value}"' if field == "aligned" else f"--{field}={value}"
        counted = ", ".join(f"{name} has {_files(source, name, kinds)} files" for name in names)
        reason = f"{counted} with the images' names; if they are further modalities, repeat this command with {flag}"
        suggestions.append(Suggestion(field, repr(value), reason))
    return suggestions


def _beside(source: Folder) -> list[str]:
    """Return the folders of the root that the source does not read."""
    read = {Path(folder).parts[0] for folder in (source.images, source.labels, source.roi) if Path(folder).parts}
    if not Path(source.images).parts:
        return []  # the images lie in the root itself, or anywhere below it
    return sorted(entry.name for entry in os.scandir(source.root) if entry.is_dir() and entry.name not in read)


def _files(source: Folder, name: str, kinds: Sequence[str]) -> int:
    return len(files_below(source.root, name, kinds)[0])


def _readable(source: Folder, field: str, name: str) -> bool:
    """Return whether the first record has an entry of the folder."""
    value: Any = (name,) if field == "aligned" else name
    try:
        record = dataclasses.replace(source, **{field: value})[0]
    except UserError:
        return False
    return bool(record[f"has_{KEYS.get(field, name)}"])
