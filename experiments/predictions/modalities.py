"""Files of the modalities that a network reads beside the images: planes, captions and sounds, matched to the images by name."""

import os
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from aeseg.data import narration, reading
from aeseg.data.files import shown
from aeseg.data.matching import Files
from aeseg.data.modalities import aligned, audio, captions
from aeseg.data.names import stem_of
from aeseg.runs import conditions
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


def folders(flags: Any) -> list[str]:
    """Return the folders that the flags name."""
    return [*(each.rpartition("=")[2] for each in _planes(flags)), *filter(os.path.isdir, (flags.captions, flags.audio))]


def readers(run: Run, flags: Any, paths: Sequence[str]) -> list[Any]:
    """Return the readers of the modalities that the flags name; UserError for those that the network does not read.

    The files of an image have its path below --input, or below the images' common folder, with any ending.
    """
    if not any(getattr(flags, name) for name in FLAGS):
        return []
    description, read = run.data.described("test"), conditions.modalities(run)
    stems, complete = _stems(flags.input, paths), os.path.isdir(flags.input)
    settings = reading.of_description(description).of_labels
    found: list[Any] = [aligned.reader("", each, stems, settings, complete) for each in _planes(flags)]
    if flags.captions:
        length = description.get("caption_bytes", narration.CAPTION)
        found.append(captions.reader("", flags.captions, length, stems, complete))
    if flags.audio:
        found.append(audio.reader("", flags.audio, description.get("audio_seconds", 1.0), stems, complete))
    keys = [reader.key for reader in found]
    if wrong := [key for key in keys if key not in read or keys.count(key) > 1]:
        raise UserError(f"The network reads {', '.join(read)}; got files of {', '.join(wrong)}. Name each modality that it reads once.")
    _check_kinds(run, found)
    return found


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


def _check_kinds(run: Run, found: Sequence[Any]) -> None:
    """Raise UserError for planes of another number or type than those of the training images, whose scale the network knows."""
    try:
        known = getattr(run.data.records("train"), "kinds", {})
    except UserError:  # the images are not here
        return
    for reader in found:
        if reader.key in known and reader.kind != known[reader.key]:
            raise UserError(
                f"{shown(reader.first)} has planes of {reader.kind}; the network was trained on {reader.key} of {known[reader.key]}. "
                "Convert the files to the training images' values."
            )
