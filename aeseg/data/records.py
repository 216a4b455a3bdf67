"""Records, which sources return and transforms change, and their checks."""

from typing import Any, Protocol, SupportsIndex, runtime_checkable

import numpy as np

from aeseg.types import IGNORE, UserError

Record = dict[str, Any]
"""One image: `image` uint8 or uint16 [h w c], `name`, optionally `label` uint8 [h w] with IGNORE, and other arrays [h w ...] such as
`depth`.

A cache may return the same record again: never change a record in place, make a new one.
"""


BESIDE = ("caption", "sound")
"""Arrays of a record that are not aligned with the image's pixels; `has_<key>`, whether a record has the key, is not aligned either."""


@runtime_checkable
class Source(Protocol):
    """Random access to records.  Sources of labelled images also have `classes`, a tuple of Class."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: SupportsIndex) -> Record: ...


@runtime_checkable
class Transform(Protocol):
    """Change image, label and depth together; all randomness comes from `rng`."""

    def __call__(self, record: Record, rng: np.random.Generator) -> Record: ...


def check(record: Record) -> Record:
    """Return the record if its arrays have one size and the right types; else raise UserError."""
    image: Any = record.get("image")
    name = record.get("name", "?")
    if not _is_uint8(image, 3) and not (isinstance(image, np.ndarray) and image.dtype == np.uint16 and image.ndim == 3):
        raise UserError(f"The image of record {name} should be uint8 or uint16 [h w c]; got {_kind(image)}. Convert it in the source.")
    if "label" in record and not _is_uint8(label := record["label"], 2):
        counts = isinstance(label, np.ndarray) and label.dtype.kind in "iuf" and label.size
        values = f" with values from {label.min()} to {label.max()}" if counts else ""
        raise UserError(
            f"The label of record {name} should be uint8 [h w], with {IGNORE} for what is ignored; got {_kind(label)}{values}. "
            "Map it in the source."
        )
    for key, value in record.items():
        if is_aligned(key, value) and value.shape[:2] != image.shape[:2]:
            raise UserError(
                f"Record {name} has an image of {image.shape[0]}x{image.shape[1]} and a {key} of "
                f"{'x'.join(map(str, value.shape[:2]))} (height x width); they must be of one size. "
                f"Does the {key} belong to this image?"
            )
    return record


def is_aligned(key: str, value: Any) -> bool:
    """Return whether a value of a record is an array with the image's rows and columns."""
    return isinstance(value, np.ndarray) and key not in BESIDE and not key.startswith("has_")


def _is_uint8(array: Any, axes: int) -> bool:
    return isinstance(array, np.ndarray) and array.dtype == np.uint8 and array.ndim == axes


def _kind(array: Any) -> str:
    return f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
