"""Captions: a folder of .txt files, or one CSV or JSON file.

a.txt                                                 the caption of a.png
image,caption                                         CSV with a header: image, file, file_name or name, then caption or text
{"a.png": "a crack", "b": ["wet", "a crack"]}         JSON
[{"image": "a.png", "caption": "a crack"}]
{"images": [{"id": 1, "file_name": "a.png"}], "annotations": [{"image_id": 1, "caption": "a crack"}]}     COCO
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aeseg.data import narration
from aeseg.data.files import shown, text
from aeseg.data.matching import Files
from aeseg.data.modalities import matching
from aeseg.data.modalities.matching import Stems
from aeseg.types import UserError

TABLES = (".csv", ".json")
NAMES, TEXTS = ("image", "file", "file_name", "filename", "name"), ("caption", "text", "description")


@dataclass(frozen=True)
class Captions:
    """Captions in UTF-8, uint8 [length], padded with 0.  A longer caption raises a UserError."""

    root: str
    texts: Mapping[str, str]
    paths: Mapping[str, str]
    length: int
    notes: tuple[str, ...] = ()
    key = "caption"

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of a caption."""
        return (self.length,)

    def read(self, files: Files, image: np.ndarray) -> dict[str, Any]:
        has = files.name in self.texts or files.name in self.paths
        words = self.texts.get(files.name, "")
        if files.name in self.paths:
            words = text(Path(self.root, self.paths[files.name]), "caption")
        data = words.strip().encode()
        if len(data) > self.length:
            raise UserError(
                f"The caption of {shown(files.name)} has {len(data)} bytes; expected at most caption_bytes={self.length}. Set "
                f"caption_bytes={len(data)}, or shorten the caption."
            )
        return {self.key: narration.as_bytes(words.strip(), self.length), f"has_{self.key}": np.array(has)}


def reader(root: str, name: str, length: int, stems: Stems, complete: bool = True) -> Captions:
    """Return the reader of a folder or a table."""
    if length < 1:
        raise UserError(f"A caption has at least 1 byte; got caption_bytes={length}. Set caption_bytes.")
    if not name.lower().endswith(TABLES):
        matches = matching.of_folder(root, name, "captions", (".txt",), stems, complete)
        return Captions(root, {}, matches.of, length, matches.notes)
    path = Path(root, name)
    content = text(path, "captions")
    entries = _of_csv(content, path) if name.lower().endswith(".csv") else _of_json(content, path)
    matches = matching.of_table(entries, shown(path), "captions", stems, complete)
    return Captions(root, matches.of, {}, length, matches.notes)


def _of_csv(content: str, path: Path) -> list[tuple[str, str]]:
    header, *rows = [row for row in csv.reader(io.StringIO(content)) if row] or [[]]
    words = [cell.strip().lower() for cell in header]
    columns = [next((words.index(word) for word in known if word in words), -1) for known in (NAMES, TEXTS)]
    if -1 in columns or any(len(row) != len(words) for row in rows):
        raise UserError(
            f"{shown(path)} should have a header with {' or '.join(NAMES)}, and {' or '.join(TEXTS)}, and as many cells in each row; got "
            f"{shown(','.join(header))!r}. Add the header, and put captions with commas in quotes."
        )
    return [(row[columns[0]].strip(), row[columns[1]]) for row in rows]


def _of_json(content: str, path: Path) -> list[tuple[str, str]]:
    try:
        node = json.loads(content)
        if isinstance(node, Mapping) and {"images", "annotations"} <= set(node):
            files = {image["id"]: image["file_name"] for image in node["images"]}
            pairs = [(files[each["image_id"]], each["caption"]) for each in node["annotations"]]
        elif isinstance(node, Mapping):
            pairs = [(name, one) for name, value in node.items() for one in (value if isinstance(value, list) else [value])]
        else:
            pairs = [(_first(each, NAMES), _first(each, TEXTS)) for each in node]
        if all(isinstance(word, str) for pair in pairs for word in pair):
            return pairs
        problem = "a name or caption that is no text"
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        problem = f"{type(error).__name__}: {error}"
    raise UserError(
        f"{shown(path)} should hold captions by image name, a list of objects with image and caption, or COCO's captions; got "
        f"{shown(problem)}. Correct it."
    )


def _first(entry: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next(entry[key] for key in keys if key in entry) if set(keys) & set(entry) else entry[keys[0]]
