"""Deadline of a comparison, and its progress in planned seconds."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator

from ..console.progress import Progress


class OutOfTimeError(Exception):
    """The minutes are over, or the next run would exceed them."""


@dataclasses.dataclass
class Clock:
    """Deadline and progress of work whose seconds are planned.

    bar       shows the planned seconds of finished work in % of all
    deadline  end, on the clock of `time.monotonic`; 0: none
    planned   planned seconds of all work
    """

    bar: Progress
    deadline: float = 0.0
    planned: float = math.inf
    _finished: float = 0.0
    _step: float = 0.0

    @property
    def minutes(self) -> float:
        """Return the minutes left, above 0; 0 without a deadline."""
        return max(1e-3, self.deadline - time.monotonic()) / 60 if self.deadline else 0.0

    def fits(self, seconds: float) -> bool:
        """Return whether work of so many seconds ends before the deadline."""
        return not self.deadline or time.monotonic() + seconds <= self.deadline

    def check(self, seconds: float) -> None:
        """Raise OutOfTimeError if work of so many seconds does not fit."""
        if not self.fits(seconds):
            raise OutOfTimeError

    def advance(self, seconds: float) -> None:
        """Count planned seconds as finished."""
        self._finished += seconds
        self.bar.at(self._percent)

    @contextlib.contextmanager
    def task(self, text: str, step: float) -> Iterator[None]:
        """Name the current task on the bar; each of its train steps takes `step` planned seconds."""
        self.bar.at(self._percent, task=text)
        self._step = step
        yield
        self._step = 0.0

    def stepped(self) -> None:
        """Count a train step of the current task as finished."""
        self.advance(self._step)

    @property
    def _percent(self) -> int:
        return min(100, round(100 * self._finished / self.planned))
