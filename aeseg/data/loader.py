"""Batches of records: the batch of a step is a pure function of (seed, step).

The endless stream is source -> seed -> shuffle (anew in each pass) -> repeat -> random transforms, a random-access `MapDataset` of
grain.  The batch of step n holds the stream's records n * batch_size .. (n + 1) * batch_size, and each process takes its contiguous
rows.  So batches do not depend on threads, worker processes, hosts or restarts.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aeseg.data.records import Record, Source, Transform, check
from aeseg.types import IGNORE, UserError

Arrays = dict[str, np.ndarray]
"""This process's rows of a batch: image uint8 [b h w c], label int32 [b h w], valid bool [b], other arrays stacked."""


@dataclass(frozen=True)
class Loader:
    """Endless training batches.  `loader[step]` makes one batch; `loader.batches(start)` prefetches all batches from a step on.

    `threads` of this process prefetch.  With `workers` > 0, that many worker processes prefetch instead, each with its own copy of
    the source and its cache.
    """

    source: Source
    transforms: Sequence[Transform]
    batch_size: int
    seed: int = 0
    threads: int = 2
    workers: int = 0
    process_index: int = 0
    process_count: int = 1

    def __post_init__(self) -> None:
        _check_source(self.source)
        _rows(self.batch_size, self.process_index, self.process_count)
        if not 0 <= self.seed < 2**32:
            raise UserError(f"The seed of the data must lie in 0..2**32 - 1; got {self.seed}.")
        _check_parallelism(self.threads, self.workers)

    def __getitem__(self, step: int) -> Arrays:
        rows = _rows(self.batch_size, self.process_index, self.process_count)
        return stacked([self._stream[step * self.batch_size + row] for row in rows])

    def batches(self, start: int = 0) -> Iterator[Arrays]:
        """Yield loader[start], loader[start + 1], ... endlessly."""
        return _ahead(_Steps(self, start), self.threads, self.workers)

    def names(self, step: int) -> list[str]:
        """Return the names of this process's records in the batch of a step, for messages."""
        rows = _rows(self.batch_size, self.process_index, self.process_count)
        return [str(self._stream[step * self.batch_size + row].get("name", "?")) for row in rows]

    @functools.cached_property
    def _stream(self) -> Any:
        import grain  # slow import (0.5 s), so done lazily

        stream = grain.MapDataset.source(self.source).seed(self.seed).shuffle().repeat()
        return stream.random_map(_Chain(tuple(self.transforms)))


def evaluation_batches(
    source: Source,
    transforms: Sequence[Transform],
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 2,
) -> Iterator[Arrays]:
    """Yield the batches of one pass in order.  The last batch is padded with rows of valid=False (image 0, label IGNORE).

    `index` is each record's position in the source.  A method's draws for a record (noise, hidden patches) depend only on `index`, not
    on the batch size or the number of processes.

    Each process gets its rows of each batch; all processes get the same number of batches.
    """
    _check_source(source)
    rows = _rows(batch_size, process_index, process_count)
    _check_parallelism(threads, 0)
    return _ahead(_Pass(source, _Chain(tuple(transforms)), batch_size, rows), threads, 0)


def stacked(records: Sequence[Record]) -> Arrays:
    """Stack records into a batch of valid rows.  Labels become int32; names and other values that are not arrays are dropped."""
    first = records[0]
    keys = _arrays(first)
    for record in records:
        for key in dict.fromkeys(keys + _arrays(record)):
            if (key in record) != (key in first):
                have, lack = (record, first) if key in record else (first, record)
                raise UserError(
                    f"Record {have['name']} has a {key} and record {lack['name']} has none; a batch needs all or none. "
                    f"Add the missing {key}, or take the records without it out of the source."
                )
            if record[key].shape != first[key].shape:
                sizes = f"{_size(first[key])} in {first['name']} and {_size(record[key])} in {record['name']}"
                raise UserError(f"A batch needs records of one size; {key} is {sizes}. Add RandomCrop or Resize to the transforms.")
    batch = {key: np.stack([record[key] for record in records]) for key in keys}
    if "label" in batch:
        batch["label"] = batch["label"].astype(np.int32)
    return {**batch, "valid": np.ones(len(records), bool)}


@dataclass(frozen=True)
class _Chain:
    """All transforms of a run, applied in order."""

    transforms: tuple[Transform, ...]

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        check(record)
        for transform in self.transforms:
            record = transform(record, rng)
        return record


@dataclass(frozen=True)
class _Steps:
    """The batches of a loader from a step on, as a source for grain."""

    loader: Loader
    start: int

    def __len__(self) -> int:
        return 2**62 // self.loader.batch_size - self.start

    def __getitem__(self, index: int) -> Arrays:
        return self.loader[self.start + index]


@dataclass(frozen=True)
class _Pass:
    """The batches of one pass in order, as a source for grain."""

    source: Source
    chain: _Chain
    batch_size: int
    rows: range

    def __len__(self) -> int:
        return -(-len(self.source) // self.batch_size)

    def __getitem__(self, index: int) -> Arrays:
        positions = [index * self.batch_size + row for row in self.rows]
        # A process whose rows are all padding learns their size from the last record.
        here = [row for row in positions if row < len(self.source)] or [len(self.source) - 1]
        batch = stacked([self.chain(self.source[row], np.random.default_rng((0, row))) for row in here])
        valid = np.array([row < len(self.source) for row in positions])
        filled = {key: _filled(value, valid, IGNORE if key == "label" else 0) for key, value in batch.items()}
        return {**filled, "index": np.array(positions, np.int32)}


def _filled(array: np.ndarray, valid: np.ndarray, value: int) -> np.ndarray:
    """Return one row for each element of `valid`: the array's next row if True, else `value`."""
    if valid.all():
        return array
    filled = np.full((len(valid), *array.shape[1:]), value, array.dtype)
    filled[valid] = array[: valid.sum()]
    return filled


def _ahead(source: _Steps | _Pass, threads: int, workers: int) -> Iterator[Arrays]:
    """Yield the source's batches in order; prefetch a few."""
    import grain

    # grain's own default holds 500 batches in memory.
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 1 if threads else 0)
    batches = grain.MapDataset.source(source).to_iter_dataset(options)
    if workers:
        from absl import flags

        if not flags.FLAGS.is_parsed():  # grain reads its own flags; notebooks and tests never parse them
            flags.FLAGS.mark_as_parsed()
        batches = batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2))
    iterator = iter(batches)
    try:
        for batch in iterator:
            # A worker's array is in shared memory, which is freed with the array; a copy is in plain memory.
            yield {key: np.array(value) for key, value in batch.items()} if workers else batch
    finally:
        iterator.close()


def _rows(batch_size: int, process_index: int, process_count: int) -> range:
    """Return the rows of a global batch that a process holds."""
    if batch_size < 1 or batch_size % process_count:
        raise UserError(
            f"batch_size must be a multiple of the number of processes, {process_count}; got {batch_size}. "
            f"The nearest that fits is {max(1, round(batch_size / process_count)) * process_count}."
        )
    if not 0 <= process_index < process_count:
        raise UserError(f"process_index must lie in 0..{process_count - 1}; got {process_index}.")
    rows = batch_size // process_count
    return range(process_index * rows, (process_index + 1) * rows)


def _check_source(source: Source) -> None:
    if len(source) == 0:
        raise UserError(f"{type(source).__name__} has no records; at least 1 is needed. Check its folder, split or number of records.")


def _check_parallelism(threads: int, workers: int) -> None:
    if threads < 0 or workers < 0:
        raise UserError(f"threads and workers must be at least 0; got {threads} and {workers}. 0 loads between the steps.")


def _arrays(record: Record) -> list[str]:
    return [key for key, value in record.items() if isinstance(value, np.ndarray)]


def _size(array: np.ndarray) -> str:
    return "x".join(map(str, array.shape))
