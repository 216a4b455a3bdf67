"""Matching of further files to records by name, as labels are matched to images."""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from aeseg.data import names
from aeseg.data.files import few, shown
from aeseg.data.listing import check_folder, files_below, passed_over
from aeseg.data.names import Part, normal, stem_of
from aeseg.types import UserError

Stems = Mapping[str, Sequence[str]]
"""The names that a record's further files may have (paths below their folder, without ending), by the record's name."""


class Matches(NamedTuple):
    """The further file, or text, of each record that has one, by the record's name; `first` of all; and notes."""

    of: dict[str, str]
    first: str
    notes: tuple[str, ...]


def of_folder(root: str, folder: str, field: str, kinds: Collection[str], stems: Stems, complete: bool) -> Matches:
    """Return the file of each record below `folder`, by its path without ending, or without affixes that all names share.

    Set `complete` if the records are all images there are: then files without an image are noted.
    """
    check_folder(root, folder, field)
    where = shown(Path(root, folder))
    paths, _ = files_below(root, folder, kinds)
    if not paths:
        raise UserError(
            f"No file in {where} ({field}) ends in {', '.join(kinds)}{passed_over(root, folder, kinds)}. Add such files, or take the "
            f"folder out of {field}."
        )
    files = names.check_one([Part(stem_of(path, folder), "", path) for path in paths], where)
    keys, notes = _keys(stems, files), []
    if not keys:
        image_name, name = names.affixes({each for each, *_ in stems.values()}, files)
        if name:
            notes = [f"names in {where} are matched as {image_name} and {name}"]
            files = {part.stem: part.path for part in names.matches(name, paths, folder)}
            keys = _keys({record: _short(image_name, each) for record, (each, *_) in stems.items()}, files)
    return Matches(
        {record: files[key] for record, key in keys.items()}, paths[0], _notes(keys, files, stems, where, field, complete, notes)
    )


def of_table(entries: Sequence[tuple[str, str]], where: str, field: str, stems: Stems, complete: bool) -> Matches:
    """Return the text of each record in a table of (image name, text); names may have the images' endings, texts of one image are joined
    by line breaks."""
    known = {name for each in stems.values() for name in each}
    texts: dict[str, str] = {}
    for name, text in entries:
        key = normal(name) if normal(name) in known else os.path.splitext(normal(name))[0]
        texts[key] = f"{texts[key]}\n{text}" if key in texts else text
    keys = _keys(stems, texts)
    by_record = {record: texts[key] for record, key in keys.items()}
    return Matches(by_record, next(iter(texts.values()), ""), _notes(keys, texts, stems, where, field, complete, []))


def _keys(stems: Stems, entries: Collection[str]) -> dict[str, str]:
    """Return the entry's name of each record that has an entry."""
    keys = {record: next((name for name in choices if name in entries), None) for record, choices in stems.items()}
    return {record: key for record, key in keys.items() if key is not None}


def _short(template: str, stem: str) -> list[str]:
    """Return the part of an image's name that a template calls stem."""
    return [part.stem for part in names.matches(template, [f"{stem}.png"], ".")]


def _notes(
    keys: Mapping[str, str], entries: Collection[str], stems: Stems, where: str, field: str, complete: bool, notes: list[str]
) -> tuple[str, ...]:
    """Return notes about records and entries without a partner; UserError if nothing matches."""
    if not keys:
        raise UserError(
            f"None of the {len(stems)} images has an entry in {where} ({field}): images are called {few(stems, 3)}, entries "
            f"{few(entries, 3)}. Call an entry like its image."
        )
    without = [record for record in stems if record not in keys]
    lone = sorted(set(entries) - set(keys.values())) if complete else []
    if without:
        notes.append(f"{len(without)} of {len(stems)} images have no entry in {where}, and count as missing it: {few(without)}")
    if lone:
        notes.append(f"{len(lone)} of {len(entries)} entries in {where} have no image: {few(lone)}")
    return tuple(notes)
