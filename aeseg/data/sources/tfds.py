"""TensorFlow Datasets without TensorFlow: random access to array_record files from `python -m experiments.prepare`.

Reading needs neither a builder's code nor the network: the metadata beside the files describe their contents.  data/decode.py decodes
pixels, not TFDS, whose readers turn palettes into colours.
"""

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Shaped, UInt8
from ml_collections import ConfigDict

from aeseg.data import decode
from aeseg.data.classes import Lookup, Table, from_colours, from_ids, lookup, table
from aeseg.spec import spec
from aeseg.types import IGNORE, Class, UserError

CITYSCAPES_CLASSES = (
    "road #804080, sidewalk #f423e8, building #464646, wall #66669c, fence #be9999, pole #999999, traffic light #faaa1e, "
    "traffic sign #dcdc00, vegetation #6b8e23, terrain #98fb98, sky #4682b4, person #dc143c, rider #ff0000, car #00008e, "
    "truck #000046, bus #003c64, train #005064, motorcycle #0000e6, bicycle #770b20"
)
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""LabelIds of the 19 trained and scored classes, in the order of their trainIds (cityscapesScripts, labels.py)."""

DATASETS: dict[str, dict[str, Any]] = {
    "oxford_iiit_pet": {
        "label_key": "segmentation_mask",
        "name_key": "file_name",
        "label_map": (-1, 0, 1, 2),  # trimaps are 1, 2, 3
        "class_table": "pet #f0803c, background #000000, border #ffffff",
    },
    "cifar10": {"name_key": "id"},
    "cityscapes/semantic_segmentation": {
        "image_key": "image_left",
        "label_key": "segmentation_label",
        "name_key": "image_id",
        "label_map": tuple(CITYSCAPES_IDS.index(i) if i in CITYSCAPES_IDS else IGNORE for i in range(34)),
        "class_table": CITYSCAPES_CLASSES,
    },
    "scene_parse150_semantic": {
        "label_key": "annotation",
        "name_key": "file_name",
        "label_map": (IGNORE, *range(150)),  # 0 is "other objects", which the benchmark ignores
    },
    "coco/2017_panoptic": {
        "label_key": "panoptic_image",
        "segments_key": "panoptic_objects",
        "name_key": "image/filename",
    },
    "nyu_depth_v2": {"depth_key": "depth"},
}
"""Fields that the recipes set; for other data sets, name their keys in your config."""


@dataclass(frozen=True)
class Tfds:
    """One split of a prepared TFDS data set.

    `dataset` is a TFDS name, `name`, `name/config` or `name/config:1.0.0` (default: the newest version on disk); `split` may be a slice
    such as "train[:25%]"; `data_dir` "" is $TFDS_DATA_DIR or ~/tensorflow_datasets.  `image_key`, `label_key`, `depth_key` and
    `name_key` name features; "" omits a feature.  With `label_map`, label_map[i] is the class of the stored id i, IGNORE, or -1 if the
    id must not occur; () keeps the ids.  `segments_key` names the segments (id, label) of a panoptic label, an RGB image with
    id = R + 256 G + 65536 B.  `class_table` defines the classes (data/classes.py); "" takes the names in the metadata.
    """

    dataset: str
    split: str = "train"
    data_dir: str = ""
    image_key: str = "image"
    label_key: str = ""
    segments_key: str = ""
    depth_key: str = ""
    name_key: str = ""
    label_map: tuple[int, ...] = ()
    class_table: str | tuple[str, ...] = ""
    channels: int = 3

    def __post_init__(self) -> None:
        _ = len(self), self.classes  # open the files now, so that errors appear now
        if self.label_key:
            outside = [value for value in self.label_map if value >= len(self.classes) and value != IGNORE]
            if outside:
                raise UserError(f"label_map gives classes below {len(self.classes)}, or {IGNORE}; got {outside[:5]}. Correct it.")

    @property
    def classes(self) -> tuple[Class, ...]:
        return self._table.classes if self.label_key else ()

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: SupportsIndex) -> dict[str, Any]:
        index = index.__index__()
        if not 0 <= index < len(self):
            raise IndexError(f"{self.dataset} {self.split} has the records 0..{len(self) - 1}; got {index}.")
        try:
            stored = self._records[index]
        except Exception as error:  # the reader raises C++ exceptions of its own
            raise UserError(f"Record {index} of {self._directory} cannot be read: {error}. {self._anew}") from error
        name = f"{self.split}-{index:06d}"
        if self.name_key:
            given = stored[self.name_key]
            name = os.path.splitext(given.decode() if isinstance(given, bytes) else str(given))[0]
        where = f"{self.dataset} {self.split}, record {index} ({name})"
        record = {"image": self._image(stored[self.image_key], where), "name": name}
        if self.label_key:
            record["label"] = self._label(stored, where)
        if self.depth_key:
            depth = stored[self.depth_key]
            depth = decode.label(depth, where) if isinstance(depth, bytes) else np.asarray(depth)
            record["depth"] = depth.reshape(depth.shape[:2]).astype(np.float32)
        return record

    def _image(self, stored: Any, where: str) -> UInt8[np.ndarray, "h w c"]:
        if isinstance(stored, bytes):
            return decode.image(stored, self.channels, where)
        return np.asarray(stored)

    def _label(self, stored: Any, where: str) -> UInt8[np.ndarray, "h w"]:
        label = stored[self.label_key]
        if self.segments_key:
            segments = stored[self.segments_key]
            return from_segments(decode.image(label, 3, where), np.array(segments["id"]), np.array(segments["label"]), where)
        label = decode.label(label, where) if isinstance(label, bytes) else np.asarray(label)
        label = label[..., 0] if label.ndim == 3 and label.shape[-1] == 1 else label
        if label.ndim == 3:
            return from_colours(label, {} if self.label_map else self._table.colours, self._lookup, where)
        return from_ids(label, self._lookup, where)

    @cached_property
    def _table(self) -> Table:
        given = self.class_table or self._stored_classes
        if not given:
            raise UserError(f"{self.dataset} does not say what its classes are called. Set class_table (names or a number).")
        return table(given)

    @cached_property
    def _lookup(self) -> Lookup:
        return lookup({IGNORE: IGNORE, **dict(enumerate(self.label_map))} if self.label_map else self._table.ids)

    @property
    def _stored_classes(self) -> tuple[str, ...]:
        info = self._builder.info
        if self.segments_key:
            return tuple(info.features[self.segments_key].feature["label"].names)
        return tuple((info.metadata or {}).get("classes", ()))

    @cached_property
    def _records(self) -> Any:
        import tensorflow_datasets as tfds

        features = self._builder.info.features
        wanted = [getattr(self, key) for key in ("image_key", "label_key", "segments_key", "depth_key", "name_key")]
        for key in wanted:
            if key and key not in features:
                raise UserError(f"{self.dataset} has no feature {key!r}; it has {', '.join(features)}. Name one of these.")
        raw = {key: tfds.decode.SkipDecoding() for key in features if isinstance(features[key], tfds.features.Image)}
        splits = self._builder.info.splits
        try:
            size = splits[self.split].num_examples
        except (ValueError, KeyError, AssertionError) as error:
            raise UserError(f"{self.dataset} has the splits {', '.join(splits)}; got {self.split!r} ({error}).") from error
        if not size:
            raise UserError(f"The split {self.split!r} of {self.dataset} is empty. Name another, or a larger slice.")
        try:
            return self._builder.as_data_source(self.split, decoders=raw)
        except NotImplementedError as error:
            kind = self._builder.info.file_format.value
            raise UserError(f"{self._directory} is stored as {kind}; aeseg reads array_record. {self._anew}") from error
        except Exception as error:
            raise UserError(f"{self._directory} cannot be opened: {error}. {self._anew}") from error

    @cached_property
    def _builder(self) -> Any:
        import tensorflow_datasets as tfds

        try:
            return tfds.builder_from_directory(str(self._directory))
        except Exception as error:
            raise UserError(f"The metadata in {self._directory} cannot be read: {error}. {self._anew}") from error

    @cached_property
    def _directory(self) -> Path:
        directory = prepared(self.dataset, self.data_dir)
        if directory is None:
            raise UserError(f"{self.dataset} is not prepared in {data_root(self.data_dir)}. {self._remedy}")
        return directory

    @property
    def _remedy(self) -> str:
        return f"Run: python -m experiments.prepare --name={self.dataset} --data_dir={data_root(self.data_dir)}"

    @property
    def _anew(self) -> str:
        return f"Remove the directory and make it again. {self._remedy}"


def data_root(data_dir: str) -> Path:
    """Return the directory of data sets: `data_dir`, or TFDS's default."""
    return Path(data_dir or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def prepared(dataset: str, data_dir: str) -> Path | None:
    """Return the directory of a data set on disk, by default of its newest version; None if there is none."""
    name, _, version = dataset.partition(":")
    versions = [
        (tuple(map(int, path.name.split("."))), path)
        for path in sorted(data_root(data_dir).joinpath(name).glob(version or "*"))
        if re.fullmatch(r"\d+\.\d+\.\d+", path.name) and (path / "dataset_info.json").is_file()
    ]
    return max(versions)[1] if versions else None


def from_segments(
    panoptic: UInt8[np.ndarray, "h w 3"], ids: Shaped[np.ndarray, "s"], labels: Shaped[np.ndarray, "s"], name: str
) -> UInt8[np.ndarray, "h w"]:
    """Convert a panoptic image and the classes of its segments to a semantic label (COCO panoptic format).

    A pixel's segment is R + 256 G + 65536 B; segment 0 is void and becomes IGNORE.  Stuff, all instances of things, and crowds become
    their class.  An unlisted segment raises a UserError.
    """
    ids, labels = np.append(ids, 0).astype(np.int64), np.append(labels, IGNORE)
    order = np.argsort(ids)
    stored = panoptic.astype(np.int64) @ np.array([1, 256, 65536])
    index = np.minimum(np.searchsorted(ids[order], stored), len(ids) - 1)
    wrong = ids[order][index] != stored
    if wrong.any():
        y, x = np.argwhere(wrong)[0]
        raise UserError(f"{name} holds the segment {stored[y, x]} at x={x}, y={y}, not one of its {len(ids) - 1} segments.")
    return labels[order][index].astype(np.uint8)


def dataset(name: str, split: str = "train", data_dir: str = "") -> ConfigDict:
    """Return the config of one split of a TFDS data set; without a recipe here, of only its images."""
    return spec(Tfds, dataset=name, split=split, data_dir=data_dir, **DATASETS.get(name.partition(":")[0], {}))


def recipe(size: str = "small") -> ConfigDict:
    """Return `small`, Oxford-IIIT Pet, or `tiny`, CIFAR-10, for tests.  `dataset(name)` returns other data sets."""
    sizes = {"tiny": "cifar10", "small": "oxford_iiit_pet"}
    if size not in sizes:
        raise UserError(f"tfds has no recipe {size!r}; it has {', '.join(sizes)}.")
    return dataset(sizes[size])
