"""How far a pass over images is: a bar on a terminal, a plain line every few seconds elsewhere."""

import sys
import time
from typing import Any

from aeseg.data.files import shown


class Progress:
    """`with Progress("evaluating", total) as progress: progress.at(done)`; writes to stderr."""

    def __init__(self, task: str, total: int, every: float = 10.0):
        self._task, self._total, self._every = task, total, every
        self._bar: Any = None

    def __enter__(self) -> "Progress":
        self._began = self._spoke = time.perf_counter()
        if sys.stderr.isatty():
            from rich import console, progress

            times = (progress.TimeElapsedColumn(), progress.TextColumn("left"), progress.TimeRemainingColumn())
            columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn(), *times)
            self._bar = progress.Progress(*columns, console=console.Console(stderr=True))
            self._number = self._bar.add_task(self._task, total=self._total)
            self._bar.start()
        return self

    def at(self, done: int, inside: float = 0.0, name: str = "") -> None:
        """`done` of `total` images are finished, and a fraction `inside` of the one called `name`."""
        now = time.perf_counter()
        if self._bar is not None:
            self._bar.update(self._number, completed=done + inside)
        elif now - self._spoke >= self._every:
            self._spoke = now
            rate = (done + inside) / (now - self._began)
            left = f"{(self._total - done - inside) / rate:.0f} s left" if rate else ""
            part = f"  {inside:.0%} of {shown(name)}" if name else ""
            print(f"{self._task} {done}/{self._total}  {rate:.2f} images/s  {left}{part}", file=sys.stderr, flush=True)

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.stop()
