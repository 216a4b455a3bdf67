"""Extra planes (depth, thermal, near infrared) as channels of the image, so that any encoder takes several modalities.

After `Stack` the image has more channels: give the encoder one `mean` and one `std` for all channels, and the decoder as many `channels`.
`DropPlanes` trains for planes that are missing at test time.  `WithoutPlanes`, as an evaluation transform, scores that case.
"""

from dataclasses import dataclass

import numpy as np

from aeseg.data.records import Record
from aeseg.data.transforms import check_probability
from aeseg.types import UserError


@dataclass(frozen=True)
class Stack:
    """Append the planes of `key` to the image's channels: `low` becomes 0, `high` 255 (65535 in 16-bit images); others are clipped.

    uint8 planes with low 0 and high 255 stay as they are.
    """

    key: str = "depth"
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise UserError(f"Stack needs low < high; got {self.low} and {self.high}. Change them in the config.")

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        if self.key not in record:
            has = ", ".join(sorted(key for key, value in record.items() if isinstance(value, np.ndarray)))
            raise UserError(f"Stack reads {self.key!r}; record {record.get('name', '?')} has {has}. Change key, or take Stack out.")
        image, planes = record["image"], record[self.key]
        scaled = np.rint(np.clip((planes.astype(np.float32) - self.low) / (self.high - self.low), 0, 1) * np.iinfo(image.dtype).max).astype(
            image.dtype
        )
        kept = {key: value for key, value in record.items() if key != self.key}
        return {**kept, "image": np.concatenate([image, scaled.reshape(*image.shape[:2], -1)], axis=-1)}


@dataclass(frozen=True)
class DropPlanes:
    """Set groups of channels to 0, each with this probability, but never all groups (Neverova et al. 2016, "ModDrop", section 4.2).

    groups   number of channels of each group, in order: (3, 1) for RGB and depth.  Deviation: one random group stays if all would be 0.
    """

    groups: tuple[int, ...] = (3, 1)
    probability: float = 0.25

    def __post_init__(self) -> None:
        check_probability(self, self.probability)

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        dropped = rng.random(len(self.groups)) < self.probability
        spared = rng.integers(len(self.groups))
        if dropped.all():
            dropped[spared] = False
        return without(record, self.groups, np.flatnonzero(dropped))


@dataclass(frozen=True)
class WithoutPlanes:
    """Set the channels of the groups `missing` (indices from 0) to 0."""

    groups: tuple[int, ...] = (3, 1)
    missing: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        if not set(self.missing) <= set(range(len(self.groups))):
            raise UserError(f"WithoutPlanes has the groups 0 to {len(self.groups) - 1}; got {tuple(self.missing)}. Change missing.")

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        return without(record, self.groups, self.missing)


def without(record: Record, groups: tuple[int, ...], missing: np.ndarray | tuple[int, ...]) -> Record:
    """Return the record with the channels of these groups set to 0."""
    image = record["image"]
    if sum(groups) != image.shape[-1]:
        raise UserError(
            f"Groups of {tuple(groups)} channels have {sum(groups)}; the image of {record.get('name', '?')} has {image.shape[-1]}. "
            "Give groups as many channels as the image has after Stack."
        )
    kept = np.repeat(~np.isin(np.arange(len(groups)), missing), groups)
    return {**record, "image": image * kept.astype(np.uint8)}
