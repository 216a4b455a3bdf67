"""Arrays: images and labels in .npy files of NumPy, a pair for each split."""

import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, SupportsIndex

import numpy as np
from ml_collections import ConfigDict

from aeseg.data.classes import Lookup, Table, from_ids, lookup, table
from aeseg.spec import choose, spec
from aeseg.types import Class, UserError


@dataclass(frozen=True)
class Arrays:
    """The arrays `<root>/<split>_images.npy` and, if there are labels, `<root>/<split>_labels.npy`.

    Images are [n h w c] or [n h w], uint8 or uint16; labels are ids [n h w]. The files are mapped into memory and read record by record.
    Files that hold Python objects are refused.

    root         folder of the files
    split        train, validation or test
    class_table  classes of the labels (aeseg/data/classes.py): names, a number of classes, or a file below the root
    ignore_ids   ids that are ignored, beside 255
    images_only  read no labels
    """

    SHARED: ClassVar = ("class_table", "ignore_ids")
    """Fields that define the meaning of labels: one value for all splits."""

    root: str
    split: str = "train"
    class_table: str | tuple[str, ...] = ""
    ignore_ids: tuple[int, ...] = ()
    images_only: bool = False

    def __post_init__(self) -> None:
        images = self._images
        if images.dtype not in (np.uint8, np.uint16) or images.ndim not in (3, 4):
            raise UserError(
                f"Expected images [n h w c] or [n h w] of type uint8 or uint16; {self._path('images')} has {list(images.shape)} of type "
                f"{images.dtype}. Convert them."
            )
        labels = self._labels
        if labels is not None and (labels.shape != images.shape[:3] or labels.dtype.kind not in "ui"):
            raise UserError(
                f"Expected labels {list(images.shape[:3])} of an integer type, one id for each pixel; {self._path('labels')} has "
                f"{list(labels.shape)} of type {labels.dtype}. Convert them."
            )
        if labels is not None and not self.class_table:
            raise UserError(
                f"{self._path('labels')} needs names for its ids. Set --config.data.class_table, for example to 'background, leaf' or to a "
                "number of classes; or read no labels with --config.data.images_only=True."
            )

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: SupportsIndex) -> dict[str, Any]:
        position = index.__index__()
        if not 0 <= position < len(self):
            raise IndexError(position)
        image = np.array(self._images[position])
        record: dict[str, Any] = {"image": image if image.ndim == 3 else image[..., None], "name": f"{self.split}_{position}"}
        if self._labels is not None:
            record["label"] = from_ids(np.array(self._labels[position]), self._ids, f"label {position} of {self._path('labels')}")
        return record

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}  # a worker maps the files itself

    @property
    def classes(self) -> tuple[Class, ...]:
        """Classes of the labels; () without labels."""
        return () if self._labels is None else self._table.classes

    @property
    def channels(self) -> int:
        """Number of channels of the images."""
        return self._images.shape[3] if self._images.ndim == 4 else 1

    @cached_property
    def _images(self) -> np.ndarray:
        return self._mapped("images")

    @cached_property
    def _labels(self) -> np.ndarray | None:
        return None if self.images_only or not os.path.exists(self._path("labels")) else self._mapped("labels")

    @cached_property
    def _table(self) -> Table:
        return table(self.class_table, self.ignore_ids, self.root)

    @cached_property
    def _ids(self) -> Lookup:
        return lookup(self._table.ids)

    def _path(self, kind: str) -> str:
        return os.path.join(self.root, f"{self.split}_{kind}.npy")

    def _mapped(self, kind: str) -> np.ndarray:
        try:
            return np.load(self._path(kind), mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
        except FileNotFoundError:
            raise UserError(
                f"Expected the file {self._path(kind)}; it does not exist. Save it with numpy.save, or set --config.data.root."
            ) from None
        except (ValueError, OSError, EOFError) as error:
            raise UserError(f"Cannot read {self._path(kind)}: {error}. Save an array of numbers with numpy.save.") from None


def recipe(size: str = "small", root: str = "data/arrays") -> ConfigDict:
    """Return the source of a size: small (images and labels below the root), tiny (tests; images only)."""
    return spec(Arrays, root=root, **choose(size, tiny={"images_only": True}, small={}))
