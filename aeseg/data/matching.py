"""Matching of files to records: by name in two folders, or by a list.  Lists folders, without opening images."""

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from aeseg.data import lists, names
from aeseg.data.annotations import coco
from aeseg.data.files import IMAGES, LABELS, few, shown
from aeseg.data.listing import absent, check_folder, files_below, passed_over
from aeseg.data.names import Part, normal, stem_of
from aeseg.types import UserError

_NO_LABELS = ("classes.txt", "labels.txt", "names.txt", "notes.json", "readme.txt", "dataset.json")


class Files(NamedTuple):
    """One record: its name and its files, relative to the root; an absent file is "".

    `bands`: further files of the image's channels; `masks`: (class, file) of a label in several files, class "" for objects of class 1.
    """

    name: str
    image: str
    label: str
    roi: str
    bands: tuple[str, ...] = ()
    masks: tuple[tuple[str, str], ...] = ()


class Locations(NamedTuple):
    """The locations of files: the root, folders below it ("." for the root, "" for none), and templates of names (data/names.py)."""

    root: str
    images: str
    labels: str
    roi: str
    label_suffix: str
    image_name: str = ""
    label_name: str = ""
    classes: tuple[str, ...] = ()
    aligned: tuple[str, ...] = ()

    @property
    def labels_in_one_file(self) -> bool:
        """Return whether `labels` is one annotation file for all images (COCO)."""
        return self.labels.lower().endswith(".json")


class Matched(NamedTuple):
    """Records, and notes about how names were matched."""

    records: tuple[Files, ...]
    notes: tuple[str, ...] = ()


class _Index(NamedTuple):
    images: dict[str, tuple[str, ...]]
    labels: dict[str, tuple[Part, ...]]
    rois: dict[str, str]
    locations: Locations
    notes: tuple[str, ...]


def matched(locations: Locations, list_file: str, list_prefix: str, only_labelled: bool) -> Matched:
    """Return the records of a list or of folders.  COCO: the images that the annotations list."""
    result = records_of_list(locations, list_file, list_prefix) if list_file else records_of_folders(locations, only_labelled)
    if not locations.labels_in_one_file:
        return result
    listed = coco.read(Path(locations.root, locations.labels))
    kept = tuple(files for files in result.records if coco.key(listed, files.image) in listed.objects)
    if len(kept) < len(result.records) and not only_labelled:
        without = [files.name for files in result.records if files not in set(kept)]
        raise UserError(
            f"{len(without)} of {len(result.records)} images are not in {shown(locations.labels)}: {few(without)}. Add them, or set "
            "only_labelled to leave these out."
        )
    return result._replace(records=kept)


def records_of_folders(locations: Locations, only_labelled: bool) -> Matched:
    """Return the images of a folder, sorted by name, each with the label and region of interest of the same name."""
    index = _index(locations)
    locations, names = index.locations, list(index.images)
    if locations.labels and not locations.labels_in_one_file:
        image_folder, label_folder = Path(locations.root, locations.images), Path(locations.root, locations.labels)
        without = [name for name in names if name not in index.labels]
        if without and not only_labelled:
            raise UserError(
                f"{len(without)} of {len(names)} images in {shown(image_folder)} have no label in {shown(label_folder)}: {few(without)}"
                f"{passed_over(locations.root, locations.images, IMAGES)}. Add the labels, set label_name to how names differ (such as "
                "'{stem}_mask'), set only_labelled to leave these out, or labels='' to read images alone."
            )
        lone = sorted(set(index.labels) - set(names))
        if lone and locations.labels != locations.images:
            raise UserError(
                f"{len(lone)} of {len(index.labels)} labels in {shown(label_folder)} have no image in {shown(image_folder)}: {few(lone)}"
                f"{passed_over(locations.root, locations.images, IMAGES)}. Add the images or remove the labels; a label has the "
                f"name of its image plus {locations.label_suffix!r}, or the name that label_name gives."
            )
        names = [name for name in names if name in index.labels]
    return Matched(tuple(_record(name, index) for name in names), index.notes)


def records_of_list(locations: Locations, list_file: str, list_prefix: str) -> Matched:
    """Return the records of a list, in its order (data/lists.py)."""
    rows = lists.read(locations.root, list_file, list_prefix)
    path = Path(locations.root, list_file)
    pairs = [len(row) > 1 for row in rows.rows]
    records = [_paired(row, locations) for row in rows.rows if len(row) > 1]
    missing = absent(locations.root, [file for record in records for file in record[1:4] if file])
    notes = rows.notes
    if not all(pairs):
        index = _index(locations)
        locations, notes = index.locations, (*notes, *index.notes)
        named = {row[0]: _name(row[0], index) for row in rows.rows if len(row) == 1}
        missing += [row for row, name in named.items() if name not in index.images]
        if locations.labels and not locations.labels_in_one_file:
            missing += [f"the label of {name}" for name in named.values() if name in index.images and name not in index.labels]
        if not missing:
            paired = iter(records)
            records = [next(paired) if len(row) > 1 else _record(named[row[0]], index) for row in rows.rows]
    if missing:
        raise UserError(
            f"Expected all files of the list {shown(path)}; {len(missing)} do not exist: {few(missing)}. A line is an image and its label "
            f"below {shown(locations.root)} (list_prefix={list_prefix!r} is cut off), or the name of an image in "
            f"{shown(Path(locations.root, locations.images))}."
        )
    return Matched(tuple(dict.fromkeys(records)), notes)


def images_alone(locations: Locations, list_file: str, list_prefix: str) -> tuple[Matched, frozenset[str]]:
    """Return the records of a list or folder without labels, and the names of the records that have one."""
    if list_file:
        return records_of_list(locations._replace(labels="", roi=""), list_file, list_prefix), frozenset()
    folder = os.path.normpath(os.path.join(locations.root, locations.labels))
    if not (os.path.isfile(folder) if locations.labels_in_one_file else os.path.isdir(folder)):
        locations = locations._replace(labels="")
    index = _index(locations._replace(roi=""))
    records = tuple(Files(name, files[0], "", "", tuple(files[1:])) for name, files in index.images.items())
    if locations.labels_in_one_file:
        listed = coco.read(Path(locations.root, locations.labels))
        labelled = {files.name for files in records if coco.key(listed, files.image) in listed.objects}
    else:
        labelled = set(index.labels) & set(index.images)
    return Matched(records, index.notes), frozenset(labelled)


def image_files(locations: Locations) -> list[str]:
    """Return all image files of the folder `images`, also those of other splits; [] if the folder does not exist."""
    if not os.path.isdir(os.path.join(locations.root, locations.images)):
        return []
    return [file for files in _index(locations._replace(roi="")).images.values() for file in files]


def label_files(locations: Locations) -> list[str]:
    """Return all label files of the folder `labels`, also those of other splits; [] if the folder does not exist."""
    if not locations.labels or locations.labels_in_one_file or not os.path.isdir(os.path.join(locations.root, locations.labels)):
        return []
    return [part.path for parts in _labels(locations).values() for part in parts]


def _index(locations: Locations) -> _Index:
    for field in ("images", "labels", "roi"):
        folder = getattr(locations, field)
        if folder and not (field == "labels" and locations.labels_in_one_file):
            check_folder(locations.root, folder, field)
    beside = (locations.labels, locations.roi, *locations.aligned)
    others = {folder for folder in beside if folder and os.path.normpath(folder) != os.path.normpath(locations.images)}
    paths, repeated = files_below(locations.root, locations.images, IMAGES, others)
    notes = [f"{repeated} images are links to others of {locations.images}; each is read once"] if repeated else []
    has_labels = locations.labels and not locations.labels_in_one_file
    if has_labels and locations.images == locations.labels and locations.label_suffix and not locations.image_name:
        paths = [path for path in paths if not os.path.splitext(path)[0].endswith(locations.label_suffix)]
    if has_labels and locations.images == locations.labels and locations.label_name:
        masks = {part.path for part in names.matches(locations.label_name, paths, locations.labels, locations.classes)}
        paths = [path for path in paths if path not in masks]
    images = _images(locations, paths)
    labels = _labels(locations) if has_labels else {}
    if (
        has_labels
        and labels
        and not images.keys() & labels.keys()
        and not (locations.label_suffix or locations.label_name or locations.image_name)
    ):
        locations, images, labels, messages = _compared(locations, images, labels)
        notes += messages
    rois = {}
    if locations.labels and locations.roi:
        files, _ = files_below(locations.root, locations.roi, IMAGES)
        rois = names.check_one([Part(stem_of(path, locations.roi), "", path) for path in files], shown(Path(locations.root, locations.roi)))
    return _Index(images, labels, rois, locations, tuple(notes))


def _images(locations: Locations, paths: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return {stem: image file, or the files of its channels}, sorted."""
    where = shown(os.path.normpath(os.path.join(locations.root, locations.images)))
    if locations.image_name and "{channel}" in locations.image_name:
        groups: dict[str, list[Part]] = defaultdict(list)
        for part in names.matches(locations.image_name, paths, locations.images):
            groups[part.stem].append(part)
        return {stem: tuple(part.path for part in sorted(groups[stem], key=lambda part: part.key)) for stem in sorted(groups)}
    if locations.image_name:
        parts = names.matches(locations.image_name, paths, locations.images)
    else:
        parts = [Part(stem_of(path, locations.images), "", path) for path in paths]
    return {stem: (path,) for stem, path in sorted(names.check_one(parts, where).items())}


def _labels(locations: Locations) -> dict[str, tuple[Part, ...]]:
    """Return {stem: its label file, or the masks of its label}."""
    paths, _ = files_below(locations.root, locations.labels, LABELS)
    paths = [path for path in paths if os.path.basename(path).lower() not in _NO_LABELS]
    pictures = [path for path in paths if path.lower().endswith(IMAGES)]
    if locations.labels == locations.images and not (locations.label_suffix or locations.label_name):
        paths = [path for path in paths if not path.lower().endswith(IMAGES)] or paths  # skip images beside annotations with the same names
    elif pictures:
        paths = pictures
    where = shown(os.path.normpath(os.path.join(locations.root, locations.labels)))
    if not locations.label_name:
        suffix = normal(locations.label_suffix)
        stems = [(stem_of(path, locations.labels), path) for path in paths]
        parts = [Part(stem[: len(stem) - len(suffix)], "", path) for stem, path in stems if stem.endswith(suffix)]
        return {stem: (Part(stem, "", path),) for stem, path in names.check_one(parts, where).items()}
    groups: dict[str, list[Part]] = defaultdict(list)
    parts = names.matches(locations.label_name, paths, locations.labels, locations.classes)
    if not names.is_many(locations.label_name):
        names.check_one(parts, where)
    for part in parts:
        groups[part.stem].append(part)
    return {stem: tuple(parts) for stem, parts in groups.items()}


def _compared(
    locations: Locations, images: dict[str, tuple[str, ...]], labels: dict[str, tuple[Part, ...]]
) -> tuple[Locations, dict[str, tuple[str, ...]], dict[str, tuple[Part, ...]], list[str]]:
    """Match images and labels whose names differ, by affixes that all names share or by class names."""
    image_name, label_name = names.affixes(images, labels)
    if label_name:
        changed = locations._replace(image_name=image_name, label_name=label_name)
        flat = [path for files in images.values() for path in files]
        return changed, _images(changed, flat), _labels(changed), [f"names are matched as {image_name} and {label_name}"]
    for separator in ("_", "-", ".", " ", "/"):
        for template in (f"{{stem}}{separator}{{class}}", f"{{class}}{separator}{{stem}}"):
            if locations.classes:
                changed = locations._replace(label_name=template)
                masks = _labels(changed)
                if masks and masks.keys() <= images.keys() and sum(map(len, masks.values())) == len(labels):
                    return changed, images, masks, [f"one mask for each class: labels are matched as {template}"]
    return locations, images, labels, []


def _record(name: str, index: _Index) -> Files:
    locations, parts = index.locations, index.labels.get(name, ())
    if locations.labels and locations.roi and name not in index.rois:
        raise UserError(
            f"The image {shown(name)} has no region of interest in {shown(Path(locations.root, locations.roi))}. Add it, or set roi='' to "
            "use all pixels."
        )
    first, *bands = index.images[name]
    if locations.labels_in_one_file:
        return Files(name, first, locations.labels, index.rois.get(name, ""), tuple(bands))
    masks = tuple((part.key, part.path) for part in parts) if names.is_many(locations.label_name) else ()
    return Files(name, first, parts[0].path if parts else "", index.rois.get(name, ""), tuple(bands), masks)


def _paired(row: Sequence[str], locations: Locations) -> Files:
    label, roi = (row[1], row[2] if len(row) > 2 else "") if locations.labels else ("", "")
    return Files(os.path.splitext(row[0])[0], row[0], label, roi)


def _name(line: str, index: _Index) -> str:
    """Return the record's name for a line: as written, without its ending, below the images folder, or as an image file's path."""
    line, images = normal(os.path.normpath(line)), os.path.normpath(index.locations.images)
    inside = os.path.relpath(line, images) if line.startswith(f"{images}{os.sep}") else line
    choices = [line, os.path.splitext(line)[0], inside, os.path.splitext(inside)[0]]
    if index.locations.image_name:
        files = [os.path.normpath(os.path.join(images, choice)) for choice in (inside, line)]
        choices += [name for name, paths in index.images.items() if {normal(path) for path in paths} & set(files)]
        choices += [part.stem for choice in choices[:4] for part in names.matches(index.locations.image_name, [choice], ".")]
    return next((name for name in choices if name in index.images), line)
