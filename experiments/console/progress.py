"""Progress of a pass over images or other work: a bar on a terminal, a line every few seconds elsewhere."""

import sys
import time
from datetime import timedelta
from typing import Any

from aeseg.data.files import shown


class Progress:
    """Progress on the stderr of its start: `with Progress("evaluating", total) as progress: progress.at(done)`."""

    def __init__(self, task: str, total: int, every: float = 10.0, unit: str = "images"):
        self._task, self._total, self._every, self._unit = task, total, every, unit
        self._bar: Any = None

    def __enter__(self) -> "Progress":
        self._began = self._spoke = time.perf_counter()
        self._stream = sys.stderr
        if self._stream.isatty():
            from rich import console, progress, text

            class Left(progress.TimeRemainingColumn):
                """The caller's seconds, or rich's estimate."""

                def render(self, task: progress.Task) -> text.Text:
                    left = task.fields["left"]
                    return (
                        super().render(task) if left is None else text.Text(str(timedelta(seconds=round(left))), style="progress.remaining")
                    )

            times = (progress.TimeElapsedColumn(), progress.TextColumn("left"), Left())
            columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn(), *times)
            screen = console.Console(file=self._stream)
            self._bar = progress.Progress(*columns, console=screen, redirect_stdout=False, redirect_stderr=False)
            self._number = self._bar.add_task(self._task, total=self._total, left=None)
            self._bar.start()
        return self

    def at(self, done: int, inside: float = 0.0, name: str = "", task: str = "", left: float | None = None) -> None:
        """Show that `done` of `total` are finished, and a fraction `inside` of the item `name`; `task` is the current task.

        `left` is the expected number of seconds until the end; by default the rate so far gives it.
        """
        now = time.perf_counter()
        self._task = task or self._task
        if self._bar is not None:
            self._bar.update(self._number, completed=done + inside, description=self._task, left=left)
        elif now - self._spoke >= self._every:
            self._spoke = now
            rate = (done + inside) / (now - self._began)
            speed = f"  {rate:.2f} {self._unit}/s" if left is None else f" {self._unit}"
            left = (self._total - done - inside) / rate if left is None and rate else left
            until = "" if left is None else f"  {left:.0f} s left"
            part = f"  {inside:.0%} of {shown(name)}" if name else ""
            print(f"{self._task} {done}/{self._total}{speed}{until}{part}", file=self._stream, flush=True)

    def restart(self) -> None:
        """Restart the clock."""
        self._began = time.perf_counter()
        if self._bar is not None:
            self._bar.reset(self._number)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=self._stream, flush=True)

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.stop()
