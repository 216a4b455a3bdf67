"""Your own images: two folders matched by name, a list file, or only images.

<root>/images/a.jpg       <root>/labels/a.png
<root>/images/b/c.tif     <root>/labels/b/c.gif     <root>/thermal/b/c.png
"""

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, SupportsIndex

import numpy as np
from ml_collections import ConfigDict

from aeseg.data import decode, groups, labels, narration, picking, survey
from aeseg.data.annotations import coco
from aeseg.data.classes import Table, table
from aeseg.data.files import IMAGES, shown
from aeseg.data.headers import PIXELS_LIMIT
from aeseg.data.images import check_size, read_image
from aeseg.data.labels import Meaning
from aeseg.data.listing import passed_over
from aeseg.data.matching import Files, Locations, Matched, image_files, images_alone, label_files, matched
from aeseg.data.modalities import aligned, audio, captions, pseudo_labels
from aeseg.data.names import stem_of
from aeseg.data.reading import Reading
from aeseg.spec import spec
from aeseg.types import IGNORE, Class, UserError

MASK_CLASSES = "background #000000, foreground #ffffff"
"""Default classes of a binary mask."""


@dataclass(frozen=True)
class Folder:
    """Images below `root`, with or without labels.

    Files   `images`, `labels` and `roi` are folders below the root ("." for the root).  Files match by their path without ending.
            `labels=""` reads only images; `labels="<file>.json"` reads COCO annotations; .json and .txt files are LabelMe and YOLO labels.
            A label's name is its image's name plus `label_suffix`, or follows the templates `image_name` and `label_name` (data/names.py:
            one mask for each class or object, one file for each channel).  `only_labelled` leaves out images without a label.
    Records `list_file` (below the root, or absolute; data/lists.py) lists the records; `list_prefix` at the start of its paths stands for
            the root.  `split` ("train", "validation", "test") is one of three disjoint splits with the fractions `splits`, drawn by
            `split_seed` over groups of neighbours (`group_by`, data/groups.py).  `part` takes the records between two fractions, so
            (0.0, 0.9) and (0.9, 1.0) are disjoint.  `images_only`, for pretraining, reads no labels and also takes unlabelled images:
            they are in train, except neighbours of validation or test images.  Images of the lists `apart_from`, and their
            neighbours, are left out.
    Labels  `class_table` and `ignore_ids` define the classes (data/classes.py), `coding` their storage (data/coding.py: auto, ids,
            colours, mask, alpha).  With `binary_threshold` > 0, labels are masks: class 1 if the grey value (0..255) reaches it.  Up
            to a fraction `snap` of a file's pixels may take the nearest class.  `overlap` of two classes' masks: ask, last, ignore.
            Labels are IGNORE where the mask in `roi` is below 128.
    Images  `channels`, `bands`, `value_range`, `pages`, `orientation`, `pixels_limit`: data/reading.py.  16-bit images that use fewer bits
            are read in the range of these bits, unless `value_range` is set.  Images are uint8, or uint16 if the first image has
            more than 8 bits; `bits` (8 or 16) overrides this.
    Further modalities (data/modalities), matched by name as labels are; a record without a file has zeros, and `has_<key>` is False.
            `aligned` names folders of planes (thermal, depth), which become entries of the same names; `captions` is a folder of .txt
            or one .csv or .json, of at most `caption_bytes` each; of the sounds in the folder `audio`, `audio_seconds` are read.
            `pseudo_labels` is a folder of label images that `predict` wrote; with `images_only`, they are read as `label`.

    The constructor lists folders and opens no image; files that do not match raise a UserError there.  A faulty file raises a UserError
    when its record is read.  `notes` lists inferred settings.
    """

    SHARED: ClassVar = (
        *("class_table", "ignore_ids", "binary_threshold", "coding", "snap", "overlap"),
        *("channels", "bands", "value_range", "pages", "orientation", "bits"),
        *("caption_bytes", "audio_seconds"),
    )
    """Fields that define the meaning of pixels and labels: one value for all splits."""

    root: str
    images: str = "images"
    labels: str = "labels"
    roi: str = ""
    label_suffix: str = ""
    only_labelled: bool = False
    list_file: str = ""
    list_prefix: str = ""
    part: tuple[float, float] = (0.0, 1.0)
    class_table: str | tuple[str, ...] = ""
    ignore_ids: tuple[int, ...] = ()
    binary_threshold: int = 0
    channels: int = 3
    image_name: str = ""
    label_name: str = ""
    split: str = ""
    splits: tuple[float | int, float | int, float | int] = (0.7, 0.15, 0.15)
    group_by: str = "auto"
    split_seed: int = 0
    coding: str = "auto"
    snap: float = 0.0
    overlap: str = "ask"
    bands: tuple[int, ...] = ()
    value_range: tuple[float | int, float | int] = (0.0, 0.0)
    pages: str = "ask"
    orientation: str = "ask"
    pixels_limit: int = PIXELS_LIMIT
    bits: int = 0
    images_only: bool = False
    apart_from: tuple[str, ...] = ()
    aligned: tuple[str, ...] = ()
    captions: str = ""
    caption_bytes: int = narration.CAPTION
    audio: str = ""
    audio_seconds: float | int = 1.0
    pseudo_labels: str = ""

    def __post_init__(self) -> None:
        if not Path(self.root or "?").is_dir():
            raise UserError(f"There is no directory {shown(self.root)!r}. Set root to the directory that holds the images.")
        if not 0 <= self.part[0] < self.part[1] <= 1:
            raise UserError(f"part is (from, to), fractions with 0 <= from < to <= 1; got {self.part}.")
        if self.channels < 1 or (self.bands and len(self.bands) != self.channels):
            raise UserError(f"Images are read with 1 or more channels, as many as bands; got channels={self.channels}, bands={self.bands}.")
        if not 0 <= self.snap < 1 or not 0 <= self.binary_threshold <= 255 or self.overlap not in labels.OVERLAPS:
            raise UserError(
                f"Expected 0 <= snap < 1, binary_threshold 0..255, overlap one of {', '.join(labels.OVERLAPS)}; got {self.snap}, "
                f"{self.binary_threshold}, {self.overlap!r}."
            )
        if self.bits not in (0, 8, 16):
            raise UserError(f"bits is 8 or 16, or 0 for what the first image has; got {self.bits}.")
        says_nothing = not (self.class_table or self.binary_threshold or "*" in self.label_name or self._locations.labels_in_one_file)
        if self._labelled and says_nothing and self.coding not in ("mask", "alpha"):
            raise UserError(
                "Folder needs to know what the labels mean; got class_table=''. Set it (a .json, .csv or .txt file, names separated by "
                "commas, or the number of classes), or binary_threshold (say 128) or coding='mask' for masks; or labels='' for images."
            )
        # Evaluated here, so that errors appear when the source is built, not at its first record.
        _ = self._reading, self.records, self.classes, self._further

    @property
    def classes(self) -> tuple[Class, ...]:
        return self._table.classes if self._labelled or self.reads_pseudo_labels else ()

    @cached_property
    def records(self) -> tuple[Files, ...]:
        """Return the name and files of each record, in order."""
        picked = self._matched[0].records
        where = shown(Path(self.root, self.list_file or self.images))
        if not picked:
            remedy = "Name one record a line" if self.list_file else f"Files that are read end in {', '.join(IMAGES)}"
            raise UserError(
                f"There is no record in {where}{'' if self.list_file else passed_over(self.root, self.images, IMAGES)}. {remedy}."
            )
        if self.apart_from:
            held = {files.image for path in self.apart_from for files in self._listed(path)}
            left_out = picking.beside(
                [files.name for files in picked], [index for index, files in enumerate(picked) if files.image in held], self.group_by
            )
            picked = tuple(files for index, files in enumerate(picked) if index not in left_out)
        if self.split:
            names = [files.name for files in picked]
            how = (self.split, self.splits, self.split_seed, self.group_by)
            chosen = picking.of_split(names, self._matched[1], *how) if self.images_only else groups.split(names, *how, self._labelled)
            if not chosen:
                raise UserError(f"splits={self.splits} leave no record for {self.split} of the {len(picked)} in {where}. Give it a share.")
            picked = tuple(picked[index] for index in chosen)
        start, stop = (round(len(picked) * end) for end in self.part)
        if start == stop:
            raise UserError(f"part={self.part} of the {len(picked)} records in {where} holds none. Widen it.")
        return picked[start:stop]

    @property
    def notes(self) -> tuple[str, ...]:
        """Return inferred facts about files and labels, a sentence each; reads a sample."""
        coding = self._meaning.coding.notes if self._labelled and self._meaning.coding else ()
        further = (note for reader in self._further for note in reader.notes)
        return (*self._matched[0].notes, *coding, *self._ranged[1], *further)

    @property
    def image_files(self) -> tuple[str, ...]:
        """Return the path of each record's image."""
        return tuple(str(Path(self.root, files.image)) for files in self.records)

    @property
    def reading(self) -> Reading:
        """Return the settings for reading images, including the range of 16-bit images; reads a sample."""
        return self._ranged[0]

    @property
    def planes(self) -> dict[str, int]:
        """Return the number of planes of each folder in `aligned`, by name; reads their first files."""
        return {reader.key: reader.channels for reader in self._further if isinstance(reader, aligned.Aligned)}

    @property
    def kinds(self) -> dict[str, str]:
        """Return the number and type of the values of each folder in `aligned`, such as "1 x uint8"; reads their first files."""
        return {reader.key: reader.kind for reader in self._further if isinstance(reader, aligned.Aligned)}

    @property
    def senses(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of `caption` and `sound`, if `captions` and `audio` name files; reads the first sound."""
        return {reader.key: reader.shape for reader in self._further if isinstance(reader, captions.Captions | audio.Audio)}

    @property
    def reads_pseudo_labels(self) -> bool:
        """Return whether `label` is a pseudo-label."""
        return bool(self.pseudo_labels) and self.images_only

    @property
    def coding_key(self) -> tuple[Any, ...]:
        """Return the coding of label images, to compare with another split; reads a sample."""
        return self._meaning.coding.key if self._labelled and self._meaning.coding else ()

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: SupportsIndex) -> dict[str, Any]:
        index = index.__index__()
        if not 0 <= index < len(self):
            raise IndexError(f"Folder {self.root} has the records 0..{len(self) - 1}; got {index}.")
        files = self.records[index]
        image = read_image(self.root, files, self.channels, self._ranged[0])
        record: dict[str, Any] = {"image": image, "name": files.name}
        if files.label:
            record["label"] = labels.label(self.root, files, self._meaning, image.shape[:2])
            check_size(self.root, self._reading, files.image, image, files.label, record["label"])
        if files.roi:
            inside = decode.mask(Path(self.root, files.roi), reading=self._reading.of_labels)
            check_size(self.root, self._reading, files.image, image, files.roi, inside)
            record["label"] = np.where(inside, record["label"], np.uint8(IGNORE))
        for reader in self._further:
            record |= reader.read(files, image)
        return record

    def label(self, index: int) -> np.ndarray:
        """Return the label of a record; the image is read only if its size is needed."""
        files = self.records[index]
        drawn = not files.label.lower().endswith(IMAGES)
        if files.roi or drawn:
            return self[index]["label"]
        return labels.label(self.root, files, self._meaning, (0, 0))

    @property
    def _locations(self) -> Locations:
        table = self.class_table
        names = tuple(item.name for item in self._table.classes) if self._labelled and table else ()
        aligned = tuple(folder.rpartition("=")[2] for folder in self.aligned)
        return Locations(self.root, self.images, self.labels, self.roi, self.label_suffix, self.image_name, self.label_name, names, aligned)

    @property
    def _labelled(self) -> bool:
        """Return whether labels are read."""
        return bool(self.labels) and not self.images_only

    @cached_property
    def _matched(self) -> tuple[Matched, frozenset[str]]:
        """Return the records and, if labels are not read, the names of the labelled records."""
        if self.images_only:
            return images_alone(self._locations, self.list_file, self.list_prefix)
        return matched(self._locations, self.list_file, self.list_prefix, self.only_labelled), frozenset()

    @cached_property
    def _further(self) -> tuple[Any, ...]:
        """Return the readers of further modalities."""
        stems = {files.name: (files.name, stem_of(files.image, self.images)) for files in self._matched[0].records}
        all_there = not self.list_file
        planes = [aligned.reader(self.root, folder, stems, self._reading.of_labels, all_there) for folder in self.aligned]
        words = [captions.reader(self.root, self.captions, self.caption_bytes, stems, all_there)] if self.captions else []
        sounds = [audio.reader(self.root, self.audio, self.audio_seconds, stems, all_there)] if self.audio else []
        maps = []
        if self.reads_pseudo_labels:
            maps = [pseudo_labels.reader(self.root, self.pseudo_labels, len(self.classes), stems, self._reading.of_labels, all_there)]
        return (*planes, *words, *sounds, *maps)

    def _listed(self, list_file: str) -> tuple[Files, ...]:
        """Return the images of a list."""
        return images_alone(self._locations, list_file, self.list_prefix)[0].records

    @cached_property
    def _table(self) -> Table:
        if self._is_coco and not self.class_table:
            names = ("background", *coco.read(Path(self.root, self.labels)).categories.values())
            return table(names, self.ignore_ids)
        return table(self.class_table or MASK_CLASSES, self.ignore_ids, self.root)

    @property
    def _is_coco(self) -> bool:
        return self.labels.lower().endswith(".json")

    @cached_property
    def _meaning(self) -> Meaning:
        coding = None
        if not self._is_coco and not any(files.masks for files in self._matched[0].records[:1]):
            files = label_files(self._locations) or [files.label for files in self._matched[0].records]
            paths = [Path(self.root, file) for file in files if file.lower().endswith(IMAGES)]
            if paths:
                coding = survey.coding(paths, self._table, self.coding, self.binary_threshold, self.snap, self._reading.of_labels)
        return Meaning(self._table, coding, self.binary_threshold, self.snap, self.overlap, self._reading.of_labels, self._is_coco)

    @cached_property
    def _reading(self) -> Reading:
        """Return the settings before the range of 16-bit images is known.  Without labels, any orientation is safe."""
        orientation = "ignore" if self.orientation == "ask" and not self._labelled else self.orientation
        return Reading(self.bands, self.value_range, False, self.pages, orientation, self.pixels_limit, self.bits or 8)

    @cached_property
    def _ranged(self) -> tuple[Reading, tuple[str, ...]]:
        files = [files.image for files in self._matched[0].records]
        reading = self._reading
        if not self.bits:
            reading = dataclasses.replace(reading, bits=survey.bits(Path(self.root, files[0])))
        if self.list_file and survey.is_ranged(Path(self.root, files[0]), reading):
            files = image_files(self._locations) or files  # one range for all splits
        return survey.ranged([Path(self.root, file) for file in files], reading)


def recipe(size: str = "small", root: str = "data") -> ConfigDict:
    """Return `small`: images/ and labels/ below the root, masks of 0 and 255; or `tiny`, for tests: only the root's images."""
    sizes: dict[str, dict[str, Any]] = {"tiny": {"images": ".", "labels": ""}, "small": {"binary_threshold": 128}}
    if size not in sizes:
        raise UserError(f"folder has no recipe {size!r}; it has {', '.join(sizes)}.")
    return spec(Folder, root=root, **sizes[size])
