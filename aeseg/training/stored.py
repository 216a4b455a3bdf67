"""Checkpoints on disk: which exist, whether one is intact, and which to keep.

All functions work on a damaged folder, and read a checkpoint only on request.
"""

import contextlib
import dataclasses
import json
import logging
import os
import re
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from aeseg import tree

VARIABLES = ("params/", "collections/", "ema/")
"""Parts of a state whose paths do not depend on how it is read."""


def saved_steps(directory: str) -> list[int]:
    """Return the steps of the checkpoints in a directory, ascending; empty if it does not exist.

    A checkpoint is a folder whose name is an int32 number without leading zeros.
    """
    if not os.path.isdir(directory):
        return []
    names = [name for name in os.listdir(directory) if re.fullmatch("0|[1-9][0-9]{0,9}", name)]
    return sorted(int(name) for name in names if int(name) < 2**31 and os.path.isdir(os.path.join(directory, name)))


def saved_metrics(directory: str, step: int) -> dict[str, float]:
    """Return the validation metrics saved with a checkpoint; {} if absent or damaged."""
    for path in ("meta/metadata", "metrics/metrics"):  # the second: the path of older versions of aeseg
        try:
            with open(os.path.join(directory, str(step), path), encoding="utf-8") as file:
                entries = json.load(file)
            if path.startswith("meta/"):
                entries = entries["metrics"] if entries["metrics_crc32"] == checksum(entries["metrics"]) else {}
            return {name: float(value) for name, value in entries.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return {}


def checksums(state: Any) -> dict[str, int]:
    """Return the CRC-32, by path, of every leaf that this process holds completely."""
    whole = {name: leaf for name, leaf in tree.flatten(state).items() if _is_whole(leaf)}
    return {name: zlib.crc32(np.ascontiguousarray(np.asarray(leaf)).tobytes()) for name, leaf in whole.items()}


class Names:
    """Orbax's NameFormat with our rule for names: `²` or `60.damaged`, for example, is not a checkpoint."""

    def build_name(self, step: int) -> str:
        return str(step)

    def find_all(self, base_path: Any) -> Iterator[ocp.path.step.Metadata]:
        for step in saved_steps(os.fspath(base_path)):
            yield self._metadata(base_path, step)

    def find_step(self, base_path: Any, step: int) -> ocp.path.step.Metadata:
        if step not in saved_steps(os.fspath(base_path)):
            raise ValueError(f"There is no checkpoint of step {step} in {base_path}.")
        return self._metadata(base_path, step)

    def _metadata(self, base_path: Any, step: int) -> ocp.path.step.Metadata:
        return ocp.path.step.Metadata(step=step, path=base_path / str(step))


@dataclasses.dataclass
class Best:
    """Preservation policy that keeps the step with the highest score; `scores` grows as the run saves."""

    scores: dict[int, float]

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        best = best_of(self.scores, [each.step for each in checkpoints])
        return [each.step == best for each in checkpoints]


def best_of(scores: Mapping[int, float], steps: Sequence[int]) -> int | None:
    return max((step for step in sorted(steps) if step in scores), key=scores.__getitem__, default=None)


def check(state: Any, saved: Mapping[str, int], holds: int, step: int) -> None:
    """Raise ValueError unless the state is at `step` and has the saved leaves and checksums."""
    leaves = tree.flatten(state)
    for name, leaf in leaves.items():
        if isinstance(leaf, jax.ShapeDtypeStruct):  # Orbax returns this, without an error, for a path that is not on disk
            raise ValueError(f"{name} is not in the checkpoint")
    lost = [name for name in saved if name.startswith(VARIABLES) and name not in leaves]
    if lost:
        raise ValueError(f"{few(lost)} is not in the checkpoint")
    wrong = [name for name, value in checksums(state).items() if name in saved and saved[name] != value]
    if wrong:
        raise ValueError(f"checksum mismatch in {few(wrong)}")
    if holds != step:
        raise ValueError(f"its folder holds step {holds}")


def checksum(metrics: Mapping[str, float]) -> int:
    return zlib.crc32(json.dumps(metrics, sort_keys=True).encode())


def _is_whole(leaf: Any) -> bool:
    """Return whether this process holds every number of an array."""
    return not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated


def few(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def reason(error: Exception) -> str:
    """Return the first line of an error, shortened for a message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _is_other(record: logging.LogRecord) -> bool:
    """Return whether a log record is neither Orbax's nor asyncio's about an error that was never retrieved."""
    return "was never retrieved" not in str(record.msg) and f"{os.sep}orbax{os.sep}" not in record.pathname


@contextlib.contextmanager
def one_error() -> Iterator[None]:
    """Report an error of Orbax only once inside this context: as the exception for the caller, without tracebacks of threads.

    Tensorstore calls back for abandoned reads after asyncio has closed their loop (`sys.unraisablehook`).  Asyncio and Orbax log the
    other threads' errors, also afterwards: their logs stay filtered.
    """
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            before(unraisable)

    sys.unraisablehook = hook
    for name in ("asyncio", "absl"):
        logging.getLogger(name).addFilter(_is_other)  # adding it again has no effect
    try:
        yield
    finally:
        sys.unraisablehook = before
