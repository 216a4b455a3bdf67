"""Files of the modalities that a network reads beside the images: planes, captions and sounds, matched to the images by name."""

import os
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from aeseg.data import narration, reading
from aeseg.data.files import shown
from aeseg.data.matching import Files
from aeseg.data.modalities import aligned, audio, captions
from aeseg.data.names import stem_of
from aeseg.runs import conditions, inputs
from aeseg.runs.run import Run
from aeseg.types import UserError

from .inputs import common_folder

FLAGS = {
    "aligned": ("", "folders of planes that the network reads beside the images: thermal=photos/thermal,depth=photos/depth"),
    "captions": ("", "folder of .txt files, or a .csv or .json, with the images' captions"),
    "audio": ("", "folder of the images' sounds"),
}

NAMED = {"caption": "--captions=<folder or table>", "sound": "--audio=<folder>"}
"""The flag that names the files of a modality; --aligned names all others."""


class Place(NamedTuple):
    """The folder or table of a modality that no flag names."""

    key: str
    kind: str
    path: str


def folders(flags: Any) -> list[str]:
    """Return the folders that the flags name."""
    return [*(each.rpartition("=")[2] for each in _planes(flags)), *filter(os.path.isdir, (flags.captions, flags.audio))]


def readers(run: Run, flags: Any, paths: Sequence[str]) -> list[Any]:
    """Return the readers of the modalities that the flags name; UserError for those that the network does not read.

    The files of an image have its path below --input, or below the images' common folder, with any ending.
    """
    if not any(getattr(flags, name) for name in FLAGS):
        return []
    read = conditions.modalities(run)
    named = [(each, "aligned") for each in _planes(flags)] + [(getattr(flags, kind), kind) for kind in ("captions", "audio")]
    found = [_reader(run, kind, each, flags.input, paths) for each, kind in named if each]
    keys = [reader.key for reader in found]
    if wrong := [key for key in keys if key not in read or keys.count(key) > 1]:
        raise UserError(f"The network reads {', '.join(read)}; got files of {', '.join(wrong)}. Name each modality that it reads once.")
    for reader in found:
        _check_kind(run, reader)
    return found


def places(run: Run, flags: Any, paths: Sequence[str], given: Sequence[Any]) -> list[Place]:
    """Find the other modalities where training has them: files and folders of the same names in the images' folder, or beside it."""
    known, tops, found = {reader.key for reader in given}, _tops(flags.input, paths), []
    for key, kind, name in _named(run):
        for path in (os.path.join(top, name) for top in tops):
            exists = os.path.isdir(path) or (kind == "captions" and os.path.isfile(path))
            if key not in known and exists and not os.path.samefile(path, tops[0]):
                found.append(Place(key, kind, path))
                break
    return found


def beside(run: Run, flags: Any, paths: Sequence[str], found: Sequence[Place]) -> tuple[list[Any], list[str]]:
    """Return the readers of the modalities that were found, and a sentence about each; files that do not fit are left out."""
    readers, said = [], []
    for key, kind, path in found:
        try:
            reader = _reader(run, kind, f"{key}={path}" if kind == "aligned" else path, flags.input, paths)
            _check_kind(run, reader)
        except UserError as error:
            said.append(f"{key} is not read from {shown(path)}: {error}")
            continue
        readers.append(reader)
        said.append(f"{key} is read from {shown(path)}")
    return readers, said


def check_required(run: Run, found: Sequence[Any]) -> None:
    """Raise UserError if files of stacked planes are missing that training never left out."""
    if without := [key for key in inputs.required(run) if key not in {reader.key for reader in found}]:
        raise UserError(f"Expected files of {' and '.join(without)}, {inputs.REQUIRED}; got none. Set {naming(without)}.")


def notes(run: Run, found: Sequence[Any]) -> list[str]:
    """Return what is missing, a sentence each."""
    without = [key for key in conditions.modalities(run)[1:] if key not in {reader.key for reader in found}]
    missing = f"The network also reads {', '.join(without)}, which count as missing. To give their files: {naming(without)}"
    return [*([missing] if without else []), *(note for reader in found for note in reader.notes)]


def naming(keys: Collection[str]) -> str:
    """Return the flags that name the files of these modalities."""
    planes = ",".join(f"{key}=<folder>" for key in keys if key not in NAMED)
    return " ".join([*([f"--aligned={planes}"] if planes else []), *(NAMED[key] for key in keys if key in NAMED)])


def entries(found: Sequence[Any], path: str, image: np.ndarray) -> dict[str, np.ndarray]:
    """Return the entries of an image's record that the readers read."""
    read: dict[str, np.ndarray] = {}
    for reader in found:
        read |= reader.read(Files(path, path, "", ""), image)
    return read


def _planes(flags: Any) -> list[str]:
    return [each for each in flags.aligned.split(",") if each]


def _stems(given: str, paths: Sequence[str]) -> dict[str, tuple[str, ...]]:
    tops = dict.fromkeys((common_folder(paths), *([os.path.abspath(given)] if os.path.isdir(given) else [])))
    return {path: tuple(stem_of(path, top) for top in tops) for path in paths}


def _tops(given: str, paths: Sequence[str]) -> list[str]:
    """Return the folder of the images, and the folder above it."""
    top = given if os.path.isdir(given) else common_folder(paths)
    return [top, os.path.relpath(os.path.join(os.path.realpath(top), ".."))]


def _named(run: Run) -> Iterator[tuple[str, str, str]]:
    """Yield the key of each modality but the image, its kind, and the name of its files below the root of the run's data."""
    description = run.data.described("test")
    planes = {each.rpartition("=")[0] or os.path.basename(each): each.rpartition("=")[2] for each in description.get("aligned", ())}
    for key in conditions.modalities(run)[1:]:
        kind = {"caption": "captions", "sound": "audio"}.get(key, "aligned")
        yield key, kind, planes.get(key, key) if kind == "aligned" else description.get(kind) or kind


def _reader(run: Run, kind: str, name: str, given: str, paths: Sequence[str]) -> Any:
    """Return the reader of a folder of planes ("thermal=photos/t"), of captions or of sounds."""
    description, stems, complete = run.data.described("test"), _stems(given, paths), os.path.isdir(given)
    if kind == "captions":
        length = description.get("caption_bytes", narration.CAPTION)
        return captions.reader("", name, length, stems, complete)
    if kind == "audio":
        return audio.reader("", name, description.get("audio_seconds", 1.0), stems, complete)
    return aligned.reader("", name, stems, reading.of_description(description).of_labels, complete)


def _check_kind(run: Run, reader: Any) -> None:
    """Raise UserError for planes of another number or type than those of the training images, whose scale the network knows."""
    try:
        known = getattr(run.data.records("train"), "kinds", {})
    except UserError:  # the images are not here
        return
    if reader.key in known and reader.kind != known[reader.key]:
        raise UserError(
            f"{shown(reader.first)} has planes of {reader.kind}; the network was trained on {reader.key} of {known[reader.key]}. "
            "Convert the files to the training images' values."
        )
