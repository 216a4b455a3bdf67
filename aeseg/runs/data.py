"""`Data`, the images of a run in three splits."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from ml_collections import ConfigDict

from aeseg import spec
from aeseg.data import wrappers
from aeseg.types import UserError

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Data:
    """The images of a run, in three splits.

    source      the description (`spec(Folder, ...)`) that all splits share: location of the images, meaning of the labels
    train, validation, test   arguments of a split that override `source`; or the description of another source
    transforms  applied to training records, in order; may be random
    evaluation_transforms   applied to records that are scored or predicted
    fraction    the fraction of the training records to use, drawn by the run's seed
    cache_gib   memory for decoded records, in GiB; 0 decodes each record anew
    on_error    "raise" stops at an unreadable record; "skip" skips it
    threads, workers   threads or processes that prefetch
    strict      stop before the first step if the labels fail a check (aeseg/data/checks.py); else warn
    """

    DESCRIPTIONS: ClassVar = ("source", *SPLITS)

    source: Mapping[str, Any] | ConfigDict = dataclasses.field(default_factory=dict)
    train: Mapping[str, Any] | ConfigDict = dataclasses.field(default_factory=dict)
    validation: Mapping[str, Any] | ConfigDict = dataclasses.field(default_factory=dict)
    test: Mapping[str, Any] | ConfigDict = dataclasses.field(default_factory=dict)
    transforms: tuple[Any, ...] = ()
    evaluation_transforms: tuple[Any, ...] = ()
    fraction: float = 1.0
    cache_gib: float = 1.0
    on_error: str = "raise"
    threads: int = 2
    workers: int = 0
    strict: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise UserError(
                f"Expected a fraction of the training records above 0 and at most 1; got {self.fraction}. Set --config.data.fraction."
            )
        if self.on_error not in ("raise", "skip"):
            raise UserError(f"on_error must be 'raise' or 'skip'; got {self.on_error!r}. Set --config.data.on_error.")
        for split in SPLITS:
            if "target" not in split_config({"source": self.source, split: getattr(self, split)}, split):
                raise UserError(f"The data of split {split!r} name no source. Set config.data.source to the description of one.")
            self._check_shared(split)

    def described(self, split: str) -> dict[str, Any]:
        """Return the complete description of a split's source."""
        return split_config(spec.plain({name: getattr(self, name) for name in ("source", split)}), split)

    def records(self, split: str) -> Any:
        """Return the complete source of a split; UserError if it has no record."""
        source = spec.build(self.described(split))
        if len(source) == 0:
            kind = self.described(split)["target"].partition(":")[2]
            raise UserError(f"Expected records; {kind} of split {split!r} has none. Name another split or folder.")
        return source

    def training(self, seed: int) -> Any:
        """Return the training records: the drawn fraction, cached, without unreadable records if `on_error` is "skip"."""
        source = self.records("train")
        if self.on_error == "skip":
            source = wrappers.Tolerant(source)
        if self.fraction < 1:
            source = wrappers.Subset(source, self.fraction, seed)
        return self._cached(source)

    def scored(self, split: str) -> Any:
        """Return the records of a split to score, each once, without unreadable records if `on_error` is "skip"."""
        source = self._cached(self.records(split))
        return wrappers.Readable(source) if self.on_error == "skip" else source

    def _cached(self, source: Any) -> Any:
        return wrappers.Cached(source, self.cache_gib) if self.cache_gib > 0 else source

    def _check_shared(self, split: str) -> None:
        """Raise UserError if a split overrides a field that must be equal for all splits."""
        fields = getattr(self, split)
        if not self.source or "target" in fields:
            return
        shared = getattr(spec.resolve(self.source["target"]), "SHARED", ())
        for name in shared:
            if name in fields and fields[name] != self.source[name]:
                raise UserError(
                    f"Expected one {name} for all splits; config.data.{split} sets it to {fields[name]!r}. Set --config.data.source.{name}."
                )


def split_config(data: Mapping[str, Any], split: str) -> dict[str, Any]:
    """Return the complete description of a split's source from a plain config of `Data`; a split with a target is complete."""
    fields = data.get(split, {})
    return dict(fields) if "target" in fields else {**data.get("source", {}), **fields}
