"""Find the files to predict, name their results, and read them."""

import glob
import os
from collections import Counter
from collections.abc import Sequence

from aeseg.data import decode, georeference, reading
from aeseg.runs.run import Run
from aeseg.types import UserError

from .writing import Item


def input_files(pattern: str, output: str, kinds: tuple[str, ...] = decode.KINDS, without: Sequence[str] = ()) -> list[str]:
    """Return the files that --input means, sorted: the file itself, the images in a folder and below it, or the matches of a glob.

    Skips earlier results (anything below `output`), and the folders `without`.
    """
    if os.path.isfile(pattern):
        return [pattern]
    if os.path.isdir(pattern):
        matches = [os.path.join(folder, name) for folder, _, names in os.walk(pattern) for name in names]
        matches = [path for path in matches if path.lower().endswith(kinds)]
    else:
        matches = [path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)]
    skipped = tuple(os.path.join(os.path.realpath(folder), "") for folder in (output, *without))
    matches = sorted(path for path in matches if not os.path.realpath(path).startswith(skipped))
    if not matches:
        raise UserError(
            f"Expected images; --input={pattern!r} matches none. Set --input to a file, a folder with {', '.join(kinds)}, "
            "or a glob in quotes, such as 'photos/**/*.jpg'."
        )
    return matches


def common_folder(paths: Sequence[str]) -> str:
    """Return the deepest folder that holds all files."""
    return os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])


def output_names(paths: Sequence[str]) -> list[str]:
    """Return a name for the results of each file, without a suffix; names are unique, also if case is ignored.

    The files' common folder is left out.  a.png beside a.jpg become a_png and a_jpg.
    """
    root = common_folder(paths)
    stems = [os.path.splitext(os.path.relpath(path, root)) for path in paths]
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


def stored_item(run: Run, path: str, name: str) -> Item:
    """Read a file's image, with the channels and the range of the run's images."""
    description = run.data.described("test")
    image = decode.image(path, description.get("channels", 3), reading=reading.of_description(description))
    return Item(name, image, georeference.tags(path))
