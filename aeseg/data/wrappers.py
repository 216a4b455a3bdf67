"""Wrappers of a source: a part of it, a cache, a source without corrupt records."""

import functools
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
from jaxtyping import Int64

from aeseg.data.records import Record, Source
from aeseg.types import Class, UserError


class _Wrapper:
    """Forwards everything to the wrapped source by default."""

    source: Source

    def __len__(self) -> int:
        return len(self.source)

    @property
    def classes(self) -> tuple[Class, ...]:
        return getattr(self.source, "classes", ())

    @property
    def notes(self) -> tuple[str, ...]:
        """Return the source's notes about its files, a sentence each."""
        return getattr(self.source, "notes", ())

    @property
    def skipped(self) -> tuple[str, ...]:
        """Return the reasons for the records skipped so far, a sentence each."""
        return getattr(self.source, "skipped", ())


class Selected(_Wrapper):
    """The records of a source with the indices `kept`, in that order."""

    def __init__(self, source: Source, kept: Sequence[int]):
        self.source, self.kept = source, list(kept)

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: SupportsIndex) -> Record:
        return self.source[self.kept[index.__index__()]]


@dataclass(frozen=True)
class Subset(_Wrapper):
    """A random part of a source, in the source's order; at least one record.  Larger fractions contain smaller ones."""

    source: Source
    fraction: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise UserError(f"A fraction of the data lies above 0 and at most at 1; got {self.fraction}.")

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: SupportsIndex) -> Record:
        return self.source[int(self.kept[index.__index__()])]

    @functools.cached_property
    def kept(self) -> Int64[np.ndarray, "kept"]:
        """Return the indices of the source's records that are kept."""
        records = len(self.source)
        order = np.random.default_rng(self.seed).permutation(records)
        return np.sort(order[: max(1, round(self.fraction * records))])


@dataclass(frozen=True)
class Cached(_Wrapper):
    """Keep decoded records in memory, up to `gib` GiB; other records are read again each time.

    Planes [h w], such as labels, are kept compressed, without loss, if that halves them.  Threads may share a cache; each worker process
    fills its own.  Arrays are read-only, because they are returned again.
    """

    source: Source
    gib: float
    _records: dict[int, Record] = field(default_factory=dict, init=False, repr=False, compare=False)
    _held: list[int] = field(default_factory=lambda: [0], init=False, repr=False, compare=False)
    _plain: set[str] = field(default_factory=set, init=False, repr=False, compare=False)
    """Entries that compression did not halve in some record: they are not compressed again."""
    _lock: Any = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.gib < 0:
            raise UserError(f"A cache has at least 0 GiB; got {self.gib}.")

    def __getitem__(self, index: SupportsIndex) -> Record:
        index = index.__index__()
        held = self._records.get(index)
        if held is not None:
            return {key: value.array() if isinstance(value, _Compressed) else value for key, value in held.items()}
        record = self.source[index]
        if self._room(_bytes({key: value for key, value in record.items() if not self._compressible(key, value)})):
            compact = {key: self._compact(key, value) for key, value in record.items()}
            with self._lock:
                if index not in self._records and self._room(_bytes(compact)):
                    for value in record.values():
                        if isinstance(value, np.ndarray):
                            value.setflags(write=False)
                    self._records[index] = compact
                    self._held[0] += _bytes(compact)
        return dict(record)

    def _room(self, more: int) -> bool:
        return self._held[0] + more <= self.gib * 2**30

    def _compressible(self, key: str, value: Any) -> bool:
        return isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind in "biuf" and key not in self._plain

    def _compact(self, key: str, value: Any) -> Any:
        if not self._compressible(key, value):
            return value
        compressed = _Compressed(zlib.compress(value.tobytes(), 1), value.dtype, value.shape)
        if 2 * compressed.nbytes > value.nbytes:
            self._plain.add(key)
            return value
        return compressed

    @property
    def held(self) -> int:
        """Return the bytes in the cache, at most `gib` GiB."""
        return self._held[0]

    @functools.cached_property
    def text(self) -> str:
        """Estimate the final size from the first record: `RAM cache: 367 of 367 records, 0.21 of at most 2.00 GiB`."""
        first = self[0]
        each = _bytes(self._records.get(0, first))
        records = min(len(self), int(self.gib * 2**30) // each)
        return f"RAM cache: {records} of {len(self)} records, {records * each / 2**30:.2f} of at most {self.gib:.2f} GiB"

    def __getstate__(self) -> dict[str, Any]:
        return {"source": self.source, "gib": self.gib}  # a worker process starts with an empty cache

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


@dataclass(frozen=True)
class Tolerant(_Wrapper):
    """Return the next good record in place of a corrupt one (`on_error=skip`), always the same.

    A record is corrupt if reading it raises UserError; `skipped` holds the reasons.  Threads may share this source; a worker process
    has its own `skipped`.
    """

    source: Source
    _corrupt: dict[int, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __getitem__(self, index: SupportsIndex) -> Record:
        index = index.__index__()
        if not 0 <= index < len(self):
            raise IndexError(f"There are the records 0..{len(self) - 1}; got {index}.")
        for candidate in (*range(index, len(self)), *range(index)):
            if candidate in self._corrupt:
                continue
            try:
                return self.source[candidate]
            except UserError as error:
                self._corrupt[candidate] = str(error)
        reasons = " ".join(self.skipped[:3])
        raise UserError(f"None of the {len(self)} records can be read; on_error=skip needs at least one that can. {reasons}")

    @property
    def skipped(self) -> tuple[str, ...]:
        """Return the reasons for the records skipped so far, a sentence each, in the records' order."""
        return tuple(reason for _, reason in sorted(self._corrupt.items()))


class Readable(Selected):
    """The readable records of a source (`on_error=skip` when records are scored): each record is tried once, at the start.

    `Tolerant` replaces a corrupt record by another, which a score would count twice.
    """

    def __init__(self, source: Source):
        kept, reasons = [], []
        for index in range(len(source)):
            try:
                source[index]
                kept.append(index)
            except UserError as error:
                reasons.append(str(error))
        if not kept:
            raise UserError(f"None of the {len(source)} records can be read; on_error=skip needs at least one that can. {reasons[0]}")
        super().__init__(source, kept)
        self._reasons = tuple(reasons)

    @property
    def skipped(self) -> tuple[str, ...]:
        """Return the reasons for the records left out, a sentence each."""
        return self._reasons


class _Compressed(NamedTuple):
    data: bytes
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return len(self.data)

    def array(self) -> np.ndarray:
        """Return the array, read-only."""
        return np.frombuffer(zlib.decompress(self.data), self.dtype).reshape(self.shape)


def _bytes(record: Record) -> int:
    return sum(value.nbytes for value in record.values() if isinstance(value, np.ndarray | _Compressed))
