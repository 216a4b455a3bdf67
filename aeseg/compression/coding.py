"""Range coding of integers with integer tables (Martin 1979; the coder is constriction's, Bamler 2022, arXiv 2201.01741)."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, UInt32

from aeseg.compression.tables import TOTAL, Table
from aeseg.types import UserError

HALF = 2**16
"""An escaped value is two symbols of this many equally likely ones."""

LARGEST = 2**30
"""Largest absolute value that is coded."""


class DamagedError(Exception):
    """The words are no code of these tables."""


def encoded(
    hyper_latent: Int64[np.ndarray, "i j e"],
    hyper_tables: list[Table],
    latent: Int64[np.ndarray, "h w d"],
    levels: Int64[np.ndarray, "h w d"],
    tables: list[Table],
) -> UInt32[np.ndarray, "n"]:
    """Return the words of one stream: z by channel, then y by level of scale, from small to large."""
    queue = _constriction().queue
    encoder = queue.RangeEncoder()
    for channel, table in enumerate(hyper_tables):
        _put(encoder, hyper_latent[..., channel].ravel(), table)
    for table, chosen in _groups(levels, tables):
        _put(encoder, latent[chosen], table)
    return encoder.get_compressed()


class Decoder:
    """Reads what `encoded` wrote: first z, then y, whose levels follow from z."""

    def __init__(self, words: UInt32[np.ndarray, "n"]):
        self._decoder = _constriction().queue.RangeDecoder(words)

    def hyper_latent(self, size: tuple[int, int], tables: list[Table]) -> Int64[np.ndarray, "i j e"]:
        """Return z."""
        channels = [_taken(self._decoder, size[0] * size[1], table).reshape(size) for table in tables]
        return np.stack(channels, axis=-1)

    def latent(self, levels: Int64[np.ndarray, "h w d"], tables: list[Table]) -> Int64[np.ndarray, "h w d"]:
        """Return y."""
        latent = np.zeros(levels.shape, np.int64)
        for table, chosen in _groups(levels, tables):
            latent[chosen] = _taken(self._decoder, int(chosen.sum()), table)
        return latent


def _groups(levels: Int64[np.ndarray, "h w d"], tables: list[Table]) -> Iterator[tuple[Table, Bool[np.ndarray, "h w d"]]]:
    """Yield the table and the positions of each level that occurs."""
    for level in np.unique(levels):
        yield tables[level], levels == level


def _put(encoder: Any, values: Int64[np.ndarray, "n"], table: Table) -> None:
    symbols = values - table.low
    outside = (symbols < 0) | (symbols >= table.escape)
    encoder.encode(np.where(outside, table.escape, symbols).astype(np.int32), _model(table))
    if outside.any():
        raw = values[outside] + LARGEST
        halves = np.stack([raw // HALF, raw % HALF], axis=-1).astype(np.int32)
        encoder.encode(halves.ravel(), _constriction().model.Uniform(HALF))


def _taken(decoder: Any, number: int, table: Table) -> Int64[np.ndarray, "n"]:
    try:
        values = decoder.decode(_model(table), number).astype(np.int64)
        outside = values == table.escape
        values += table.low
        if outside.any():
            halves = decoder.decode(_constriction().model.Uniform(HALF), 2 * int(outside.sum())).astype(np.int64)
            values[outside] = halves[::2] * HALF + halves[1::2] - LARGEST
    except (AssertionError, ValueError) as error:
        raise DamagedError from error
    return values


def _model(table: Table) -> Any:
    return _constriction().model.Categorical(table.counts / TOTAL, perfect=False)


def _constriction() -> Any:
    """Return constriction's streams; UserError if it is not installed."""
    try:
        import constriction
    except ImportError:
        raise UserError("Expected the range coder `constriction`; it is not installed. Run: pip install -e '.[compress]'") from None
    return constriction.stream
