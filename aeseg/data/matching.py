"""Which files make one record: by name in two folders, or by a list.  Lists folders, opens no image."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from aeseg.data.decode import KINDS
from aeseg.types import UserError


class Files(NamedTuple):
    """One record: its name and its files, relative to the root; "" for what it has none of."""

    name: str
    image: str
    label: str
    roi: str


class Places(NamedTuple):
    """Where the files are: the root, folders below it ("." the root itself, "" none), and what a label's name has more."""

    root: str
    images: str
    labels: str
    roi: str
    label_suffix: str


def records_of_folders(places: Places, only_labelled: bool) -> list[Files]:
    """The images of a folder, each with the label and region of interest of its name, sorted by name."""
    images, labels, rois = _indices(places)
    names = list(images)
    if places.labels:
        where, beside = Path(places.root, places.images), Path(places.root, places.labels)
        without = [name for name in names if name + places.label_suffix not in labels]
        if without and not only_labelled:
            raise UserError(
                f"{len(without)} of {len(names)} images in {where} have no label in {beside}: {few(without)}"
                f"{passed_over(places)}. Add the labels, set only_labelled to leave these out, or labels='' to read images alone."
            )
        lone = sorted(set(labels) - {name + places.label_suffix for name in names})
        if lone and places.labels != places.images:
            raise UserError(
                f"{len(lone)} of {len(labels)} labels in {beside} have no image in {where}: {few(lone)}{passed_over(places)}. "
                f"Add the images or take the labels out; a label is called like its image plus {places.label_suffix!r}."
            )
        names = [name for name in names if name + places.label_suffix in labels]
    return [_record(name, places, images, labels, rois) for name in names]


def records_of_list(places: Places, list_file: str, list_prefix: str) -> list[Files]:
    """The records a list names, in its order.

    Each line holds the paths of an image, its label and perhaps its region of interest, separated by tabs or spaces; or each
    line is the name of an image in the images folder, with or without its ending.  `list_prefix` at the head of a path
    stands for the root.  Empty lines and lines beginning with # are passed over.
    """
    path = Path(places.root, list_file)
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read the list {path}: {error}. Set list_file to a text file.") from error
    lines = [line for line in lines if line and not line.startswith("#")]
    rows = [[item.strip() for item in (line.split("\t") if "\t" in line else line.split())] for line in lines]
    if all(2 <= len(row) <= 3 and all(item.lower().endswith(KINDS) for item in row) for row in rows):
        rows = [[_below_root(item, list_prefix) for item in row] for row in rows]
        records = [_paired(row, places) for row in rows]
        absent = _absent(places.root, (file for record in records for file in record[1:] if file))
    else:
        images, labels, rois = _indices(places)
        names = [_name(_below_root(line, list_prefix), places, images) for line in lines]
        absent = [line for line, name in zip(lines, names, strict=True) if name not in images]
        if places.labels:
            absent += [f"the label of {name}" for name in names if name in images and name + places.label_suffix not in labels]
        records = [] if absent else [_record(name, places, images, labels, rois) for name in names]
    if absent:
        raise UserError(
            f"{len(absent)} of what the list {path} names is not there: {few(absent)}. A line is an image and its label "
            f"below {places.root} (list_prefix={list_prefix!r} is cut off), or the name of an image in "
            f"{Path(places.root, places.images)}."
        )
    return records


def passed_over(places: Places) -> str:
    """For an error: how many files of kinds that are not read lie among the images; "" when none."""
    kinds: Counter[str] = Counter()
    for _, _, files in os.walk(Path(places.root, places.images)):
        kinds.update(os.path.splitext(file)[1].lower() or "no ending" for file in files if not file.lower().endswith(KINDS))
    return f" (files passed over: {few([f'{count} of {kind}' for kind, count in kinds.most_common()])})" if kinds else ""


def few(words: list[str], most: int = 5) -> str:
    """The first words, and how many more there are."""
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def _indices(places: Places) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    others = {folder for folder in (places.labels, places.roi) if folder and folder != places.images}
    images = _files_by_name(places.root, places.images, "images", others)
    if places.labels == places.images and places.label_suffix:
        images = {name: file for name, file in images.items() if not name.endswith(places.label_suffix)}
    labels = _files_by_name(places.root, places.labels, "labels", set()) if places.labels else {}
    rois = _files_by_name(places.root, places.roi, "roi", set()) if places.labels and places.roi else {}
    return images, labels, rois


def _files_by_name(root: str, folder: str, field: str, without: set[str]) -> dict[str, str]:
    """{path in the folder without ending: path below the root}, sorted; hidden files and folders are passed over."""
    top = os.path.normpath(os.path.join(root, folder))
    if not os.path.isdir(top):
        remedy = "('.' is the root itself)" if field == "images" else f"right, or {field}='' to do without"
        raise UserError(f"There is no folder {top} ({field}={folder!r}). Set {field} {remedy}.")
    skipped = {os.path.normpath(os.path.join(root, other)) for other in without}
    found: dict[str, str] = {}
    for place, folders, files in os.walk(top, followlinks=True):
        folders[:] = [name for name in folders if name[0] != "." and os.path.join(place, name) not in skipped]
        inside = os.path.relpath(place, top)
        for file in files:
            if file[0] == "." or not file.lower().endswith(KINDS):
                continue
            path = file if inside == "." else os.path.join(inside, file)
            name = os.path.splitext(path)[0]
            below = os.path.normpath(os.path.join(folder, path))
            if name in found:
                raise UserError(f"Two files in {top} have one name: {found[name]} and {below}. Rename or remove one of them.")
            found[name] = below
    return dict(sorted(found.items()))


def _record(name: str, places: Places, images: dict[str, str], labels: dict[str, str], rois: dict[str, str]) -> Files:
    if places.labels and places.roi and name not in rois:
        raise UserError(
            f"The image {name} has no region of interest in {Path(places.root, places.roi)}. Add it, or set roi='' to do without."
        )
    return Files(name, images[name], labels.get(name + places.label_suffix, ""), rois.get(name, ""))


def _paired(row: list[str], places: Places) -> Files:
    label, roi = (row[1], row[2] if len(row) > 2 else "") if places.labels else ("", "")
    return Files(os.path.splitext(row[0])[0], row[0], label, roi)


def _below_root(path: str, prefix: str) -> str:
    return path[len(prefix) :].lstrip("/") if prefix and path.startswith(prefix) else path


def _name(line: str, places: Places, images: dict[str, str]) -> str:
    """The name a line means: itself, without its ending, or below the images folder."""
    line = os.path.normpath(line)
    inside = os.path.relpath(line, places.images) if line.startswith(f"{os.path.normpath(places.images)}{os.sep}") else line
    choices = [line, os.path.splitext(line)[0], inside, os.path.splitext(inside)[0]]
    return next((name for name in choices if name in images), line)


def _absent(root: str, files: Iterable[str]) -> list[str]:
    """Those of `files` that do not exist, by one listing of each folder: a network disk answers a listing as fast as one stat."""
    listings: dict[str, set[str]] = {}
    absent = []
    for file in files:
        folder, base = os.path.split(os.path.join(root, file))
        if folder not in listings:
            listings[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        if base not in listings[folder]:
            absent.append(file)
    return absent
