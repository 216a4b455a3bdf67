"""The reader's own images: two folders matched by name, a list file, or images alone.

<root>/images/a.jpg       <root>/labels/a.png
<root>/images/b/c.tif     <root>/labels/b/c.gif
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, SupportsIndex

import numpy as np
from jaxtyping import Shaped, UInt8
from ml_collections import ConfigDict

from aeseg.data import decode
from aeseg.data.classes import Table, from_colours, from_ids, lookup, table
from aeseg.data.matching import Files, Places, passed_over, records_of_folders, records_of_list
from aeseg.spec import spec
from aeseg.types import IGNORE, Class, UserError

CAMVID_CLASSES = (
    "sky #808080, building #800000, pole #c0c080, road #804080, pavement #3c28de, tree #808000, "
    "sign #c08080, fence #404080, car #400080, pedestrian #404000, bicyclist #0080c0"
)
"""The 11 classes of the SegNet split of CamVid, in SegNet's colours; id 11 is void."""

SEGNET_WEIGHTS = {
    "sky": 0.2595, "building": 0.1826, "pole": 4.564, "road": 0.1417, "pavement": 0.9051, "tree": 0.3826,
    "sign": 9.6446, "fence": 1.8418, "car": 0.6823, "pedestrian": 6.2478, "bicyclist": 7.3614,
}  # fmt: skip
"""The class weights that SegNet's authors published with their models; the median frequencies of the 367 training images are others."""

MASK_CLASSES = "background #000000, foreground #ffffff"
"""The classes of a binary mask when no others are named."""


@dataclass(frozen=True)
class Folder:
    """Images, and their labels if there are any, below `root`.

    `images`, `labels`, `roi` are folders below the root ("." is the root itself), files matched by their path without ending;
    `labels=""` reads images alone.  A label is called like its image plus `label_suffix`.  `only_labelled` leaves images without
    a label out instead of refusing them.  `list_file` (below the root, or absolute) picks the records; `list_prefix` at the
    head of its paths stands for the root.  `part` takes from this to that fraction of the records, in the list's order or by
    name, so (0.0, 0.9) and (0.9, 1.0) share none.

    `class_table` and `ignore_ids` say what labels mean (data/classes.py).  With `binary_threshold` > 0 labels are masks: class 1
    where the grey value, 0..255, reaches it.  Where the mask in `roi` is below 128, labels are IGNORE.

    Building it lists folders and opens no image; what does not match is a UserError then.  What is wrong inside a file is a
    UserError when the record is read.
    """

    SHARED: ClassVar = ("class_table", "ignore_ids", "binary_threshold", "channels")
    """Fields that say what records mean: a run says them once, for all splits."""

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

    def __post_init__(self) -> None:
        if not Path(self.root or "?").is_dir():
            raise UserError(f"There is no directory {self.root!r}. Set root to the directory that holds the images.")
        if not 0 <= self.part[0] < self.part[1] <= 1:
            raise UserError(f"part is (from, to), fractions with 0 <= from < to <= 1; got {self.part}.")
        if self.channels not in (1, 3):
            raise UserError(f"Images are read with 1 or 3 channels; got channels={self.channels}. Choose one of these.")
        if self.labels and not self.class_table and not self.binary_threshold:
            raise UserError(
                "Folder needs to know what the labels mean; got class_table=''. Set it (a .json file, names separated by commas, "
                "or the number of classes), or binary_threshold (say 128) for masks, or labels='' to read images alone."
            )
        # Made here, so that what is wrong is said when the source is built and not at its first record.
        _ = self.records, self.classes

    @property
    def classes(self) -> tuple[Class, ...]:
        return self._table.classes if self.labels else ()

    @cached_property
    def records(self) -> tuple[Files, ...]:
        """Name and files of each record, in order."""
        places = Places(self.root, self.images, self.labels, self.roi, self.label_suffix)
        if self.list_file:
            found = records_of_list(places, self.list_file, self.list_prefix)
        else:
            found = records_of_folders(places, self.only_labelled)
        where = Path(self.root, self.list_file or self.images)
        if not found:
            remedy = "Name one record a line" if self.list_file else f"Files that are read end in {', '.join(decode.KINDS)}"
            raise UserError(f"There is no record in {where}{'' if self.list_file else passed_over(places)}. {remedy}.")
        start, stop = (round(len(found) * end) for end in self.part)
        if start == stop:
            raise UserError(f"part={self.part} of the {len(found)} records in {where} holds none. Widen it.")
        return tuple(found[start:stop])

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: SupportsIndex) -> dict[str, Any]:
        index = index.__index__()
        if not 0 <= index < len(self):
            raise IndexError(f"Folder {self.root} has the records 0..{len(self) - 1}; got {index}.")
        files = self.records[index]
        image = decode.image(Path(self.root, files.image), self.channels)
        record: dict[str, Any] = {"image": image, "name": files.name}
        if files.label:
            record["label"] = self._label(files)
            self._check_size(files.image, image, files.label, record["label"])
        if files.roi:
            inside = decode.mask(Path(self.root, files.roi))
            self._check_size(files.image, image, files.roi, inside)
            record["label"] = np.where(inside, record["label"], np.uint8(IGNORE))
        return record

    @cached_property
    def _table(self) -> Table:
        return table(self.class_table or MASK_CLASSES, self.ignore_ids, self.root)

    @cached_property
    def _lookup(self) -> Shaped[np.ndarray, "n"]:
        return lookup(self._table.ids)

    def _label(self, files: Files) -> UInt8[np.ndarray, "h w"]:
        path = Path(self.root, files.label)
        if self.binary_threshold:
            return decode.mask(path, self.binary_threshold).astype(np.uint8)
        stored = decode.label(path)
        if stored.ndim == 3:
            return from_colours(stored, self._table.colours, self._lookup, str(path))
        return from_ids(stored, self._lookup, str(path))

    def _check_size(self, image_file: str, image: np.ndarray, file: str, other: np.ndarray) -> None:
        (h, w), (other_h, other_w) = image.shape[:2], other.shape[:2]
        if (h, w) != (other_h, other_w):
            raise UserError(
                f"In {self.root}, {image_file} is {h}x{w} (height x width) and {file} is {other_h}x{other_w}. They must be "
                "of one size: replace one of them. (Both are read as stored, without their EXIF orientation.)"
            )


def recipe(size: str = "small", root: str = "data") -> ConfigDict:
    """`small`: images/ and labels/ below the root, masks of 0 and 255; `tiny`, for tests: the root's images alone."""
    sizes: dict[str, dict[str, Any]] = {"tiny": {"images": ".", "labels": ""}, "small": {"binary_threshold": 128}}
    if size not in sizes:
        raise UserError(f"folder has no recipe {size!r}; it has {', '.join(sizes)}.")
    return spec(Folder, root=root, **sizes[size])


def camvid(split: str, root: str = "data/camvid") -> ConfigDict:
    """CamVid (Brostow et al. 2009) in SegNet's split, 360x480: train 367, val 101 (one sequence), test 233."""
    _check_split("CamVid", split, ("train", "val", "test"))
    return spec(
        Folder, root=root, images=split, labels=f"{split}annot", list_file=f"{split}.txt", list_prefix="/SegNet/CamVid/",
        class_table=CAMVID_CLASSES, ignore_ids=(11,),
    )  # fmt: skip


def drive(split: str, root: str = "data/drive") -> ConfigDict:
    """DRIVE (Staal et al. 2004), vessels inside the field of view: train 18 and validation 2 of the 20 official training images,
    test the 20 official test images (labels of the first observer)."""
    _check_split("DRIVE", split, ("train", "validation", "test"))
    return spec(
        Folder, root=root, labels="labels", roi="fov", binary_threshold=128, class_table="background #000000, vessel #ffffff",
        list_file=f"splits/official_{'test' if split == 'test' else 'train'}.txt",
        part={"train": (0.0, 0.9), "validation": (0.9, 1.0), "test": (0.0, 1.0)}[split],
    )  # fmt: skip


def camvid_splits(root: str = "data/camvid") -> dict[str, ConfigDict]:
    """Return `camvid` by the split of a run."""
    return {split: camvid(name, root) for split, name in (("train", "train"), ("validation", "val"), ("test", "test"))}


def drive_splits(root: str = "data/drive") -> dict[str, ConfigDict]:
    """Return `drive` by the split of a run."""
    return {split: drive(split, root) for split in ("train", "validation", "test")}


def _check_split(data: str, split: str, splits: tuple[str, ...]) -> None:
    if split not in splits:
        raise UserError(f"{data} has the splits {', '.join(splits)}; got {split!r}. Name one of these.")
