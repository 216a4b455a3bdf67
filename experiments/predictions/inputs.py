"""Find the files to predict, name their results, and read them as the network sees them."""

import glob
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from aeseg.data import decode, georeference, reading, transforms
from aeseg.runs.run import Run
from aeseg.types import UserError

from .writing import Item


def input_files(pattern: str, output: str, kinds: tuple[str, ...] = decode.KINDS) -> list[str]:
    """Return the files that --input means, sorted: the file itself, the images in a folder and below it, or the matches of a glob.

    Skips earlier results (anything below `output`).
    """
    if os.path.isfile(pattern):
        return [pattern]
    if os.path.isdir(pattern):
        matches = [os.path.join(folder, name) for folder, _, names in os.walk(pattern) for name in names]
        matches = [path for path in matches if path.lower().endswith(kinds)]
    else:
        matches = [path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)]
    results = os.path.join(os.path.realpath(output), "")
    matches = sorted(path for path in matches if not os.path.realpath(path).startswith(results))
    if not matches:
        raise UserError(
            f"Expected images; --input={pattern!r} matches none. Set --input to a file, a folder with {', '.join(kinds)}, "
            "or a glob in quotes, such as 'photos/**/*.jpg'."
        )
    return matches


def output_names(paths: Sequence[str]) -> list[str]:
    """Return a name for the results of each file, without a suffix; names are unique, also if case is ignored.

    The files' common folder is left out.  a.png beside a.jpg become a_png and a_jpg.
    """
    root = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    stems = [os.path.splitext(os.path.relpath(os.path.abspath(path), root)) for path in paths]
    alike = Counter(stem.lower() for stem, _ in stems)
    used = {stem.lower() for stem, _ in stems if alike[stem.lower()] == 1}
    names = []
    for stem, ending in stems:
        name = stem
        if alike[stem.lower()] > 1:
            name, number = f"{stem}_{ending[1:]}", 2
            while name.lower() in used:
                name, number = f"{stem}_{ending[1:]}_{number}", number + 1
            used.add(name.lower())
        names.append(name)
    return names


def kept_transforms(run: Run) -> list[Any]:
    """Return a run's evaluation transforms that keep the whole image: resizing and colours, not crops and moves."""
    changes = run.data.evaluation_transforms
    return [change for change in changes if type(change).__module__ != transforms.__name__ or isinstance(change, transforms.Resize)]


def read_item(run: Run, path: str, name: str, changes: Sequence[Any]) -> tuple[Item, np.ndarray]:
    """Read a file; return the stored image, and the image for the network."""
    description = run.data.described("test")
    image = decode.image(path, description.get("channels", 3), reading=reading.of_description(description))
    record = {"image": image, "name": name}
    for change in changes:
        record = change(record, np.random.default_rng(0))
    return Item(name, image, georeference.tags(path)), record["image"]
