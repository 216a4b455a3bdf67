"""Modalities of records as transforms: leave some out, and stack aligned planes into the image, so that any encoder takes them.

After `Stack` the image has more channels: give the encoder one `mean` and one `std` for all channels, and a decoder as many `channels`.
`DropModalities` trains for modalities that are missing at test time; `WithoutModalities`, as an evaluation transform, scores that case.
Both stand before `Stack`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aeseg.data.records import Record
from aeseg.data.transforms import check_probability
from aeseg.types import UserError


@dataclass(frozen=True)
class Stack:
    """Append the planes of `key` to the image's channels: `low` becomes 0, `high` 255 (65535 in 16-bit images); others are clipped.

    uint8 planes with low 0 and high 255 stay as they are.  Missing planes become 0.

    channels   number of planes of `key`
    """

    key: str = "depth"
    low: float = 0.0
    high: float = 1.0
    channels: int = 1

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise UserError(f"Stack needs low < high; got {self.low} and {self.high}. Change them in the config.")

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        _check_has(record, (self.key,), "Stack")
        image = record["image"]
        planes = record[self.key].reshape(*image.shape[:2], -1)
        if planes.shape[-1] != self.channels:
            raise UserError(
                f"Stack reads {self.channels} planes of {self.key!r}; record {record.get('name', '?')} has {planes.shape[-1]}. "
                "Set channels."
            )
        scaled = np.rint(np.clip((planes.astype(np.float32) - self.low) / (self.high - self.low), 0, 1) * np.iinfo(image.dtype).max)
        scaled = scaled.astype(image.dtype) * has(record, self.key).astype(np.uint8)
        kept = {key: value for key, value in record.items() if key not in (self.key, f"has_{self.key}")}
        return {**kept, "image": np.concatenate([image, scaled], axis=-1)}


@dataclass(frozen=True)
class DropModalities:
    """Leave out each of `keys` with this probability, but never all that a record has (Neverova et al. 2016, "ModDrop", section 4.2).

    Deviation: one random modality stays if all would be left out.
    """

    keys: tuple[str, ...] = ("image", "depth")
    probability: float = 0.25

    def __post_init__(self) -> None:
        check_probability(self, self.probability)

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        _check_has(record, self.keys, "DropModalities")
        present = [key for key in self.keys if has(record, key)]
        left_out = rng.random(len(self.keys)) < self.probability
        spared = present[rng.integers(len(present))] if present else ""
        dropped = [key for key, leaves in zip(self.keys, left_out, strict=True) if leaves]
        if set(present) <= set(dropped):
            dropped = [key for key in dropped if key != spared]
        return without(record, self.keys, dropped)


@dataclass(frozen=True)
class WithoutModalities:
    """Leave out the modalities `missing`."""

    missing: tuple[str, ...] = ("depth",)

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        _check_has(record, self.missing, "WithoutModalities")
        return without(record, self.missing, self.missing)


def without(record: Record, keys: Iterable[str], missing: Sequence[str]) -> Record:
    """Return the record with the `missing` of `keys` set to 0, and with `has_<key>` for each of `keys`."""
    zeros = {key: np.zeros_like(record[key]) for key in missing}
    return {**record, **zeros, **{f"has_{key}": np.asarray(has(record, key) & (key not in missing)) for key in keys}}


def has(record: Record, key: str) -> Any:
    """Return whether a record has a modality, bool of no dimension."""
    return np.asarray(record.get(f"has_{key}", True))


def stacked(transforms: Iterable[Any]) -> dict[str, int]:
    """Return the number of channels that transforms stack into the image, by modality."""
    return {each.key: each.channels for each in transforms if isinstance(each, Stack)}


def _check_has(record: Record, keys: Iterable[str], reader: str) -> None:
    for key in keys:
        if key not in record:
            there = ", ".join(sorted(key for key, value in record.items() if isinstance(value, np.ndarray) and not key.startswith("has_")))
            raise UserError(
                f"{reader} reads {key!r}; record {record.get('name', '?')} has {there}. Name its folder in aligned, or take {key!r} out of "
                f"{reader}."
            )
