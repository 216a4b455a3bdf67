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

    bar       shows the planned seconds of finished work in % of all, and the seconds left
    deadline  end, on the clock of `time.monotonic`; 0: none
    planned   planned seconds of all work
    """

    bar: Progress
    deadline: float = 0.0
    planned: float = math.inf
    _began: float = dataclasses.field(default_factory=lambda: time.monotonic())
    _finished: float = 0.0
    _worked: float = 0.0
    _step: float = 0.0

    @property
    def minutes(self) -> float:
        """Return the minutes until the deadline, above 0; 0 without a deadline."""
        return max(1e-3, self.deadline - time.monotonic()) / 60 if self.deadline else 0.0

    def fits(self, seconds: float) -> bool:
        """Return whether work of these seconds ends before the deadline."""
        return not self.deadline or time.monotonic() + seconds <= self.deadline

    def check(self, seconds: float) -> None:
        """Raise OutOfTimeError if work of these seconds does not fit."""
        if not self.fits(seconds):
            raise OutOfTimeError

    def replan(self, seconds: float) -> None:
        """Plan further work of these seconds after the finished work."""
        self.planned = self._finished + seconds

    def skip(self, seconds: float) -> None:
        """Count work that an earlier call finished."""
        self._finished += seconds
        self._show()

    @contextlib.contextmanager
    def task(self, text: str, step: float) -> Iterator[None]:
        """Name the current task on the bar; each of its train steps takes `step` planned seconds."""
        self._show(text)
        self._step = step
        yield
        self._step = 0.0

    def stepped(self) -> None:
        """Count a train step of the current task as finished."""
        self._finished += self._step
        self._worked += self._step
        self._show()

    def left(self) -> float | None:
        """Return the seconds that the unfinished work takes at the pace so far, at most until the deadline; None without a plan."""
        if math.isinf(self.planned):
            return None
        now = time.monotonic()
        pace = (now - self._began) / self._worked if self._worked else 1.0
        left = pace * (self.planned - self._finished)
        return max(0.0, min(left, self.deadline - now) if self.deadline else left)

    def _show(self, task: str = "") -> None:
        self.bar.at(min(100, round(100 * self._finished / self.planned)), task=task, left=self.left())
