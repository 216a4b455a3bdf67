"""Log of a run: metrics.jsonl, TensorBoard events, and a progress bar on a terminal or plain lines elsewhere."""

import json
import math
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from aeseg import files
from aeseg.training.events import Events


class Log:
    """Log of one run; only process 0 (`writes`) writes files.

    `rewind(step)` removes rows of metrics.jsonl later than `step`, left by a run that died after its last checkpoint.  The file then
    reads as if the run had never been interrupted, with each step once.  Unreadable rows are moved aside.  Before `rewind`, files of
    an earlier run are unchanged.  A failed write raises UserError and leaves no partial row.
    """

    def __init__(self, workdir: str, steps: int, start: int = 0, writes: bool = True):
        self._writes, self._steps = writes, steps
        self._bar: Any = None
        self._began, self._first = time.perf_counter(), start
        self._rows: list[dict[str, Any]] = []
        if not writes:
            return
        self._path = os.path.join(workdir, "metrics.jsonl")
        self._events = Events(os.path.join(workdir, "events"))
        if sys.stderr.isatty():
            from rich import progress

            columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn())
            times = (progress.TimeElapsedColumn(), progress.TextColumn("left"), progress.TimeRemainingColumn())
            self._bar = progress.Progress(*columns, progress.TextColumn("{task.fields[rate]}"), *times)
            self._task = self._bar.add_task("", total=steps, completed=start, rate="")
            self._bar.start()
        for path in self.folders(workdir):
            if os.path.lexists(path) and not os.path.isdir(path):
                self.say(f"Expected a folder; {path} is a file. Moved to {files.move_aside(path)}.")

    @staticmethod
    def folders(workdir: str) -> tuple[str, ...]:
        """Return the folders in which a run writes files."""
        return os.path.join(workdir, "events"), os.path.join(workdir, "pictures")

    def rewind(self, step: int) -> None:
        """Continue after `step`: remove later rows and hide later points of the curves."""
        self._first = step
        if not self._writes:
            return
        self._rows = []
        self._events.rewind(step)
        if not os.path.lexists(self._path):
            return
        if not os.path.isfile(self._path):
            self.say(f"Expected a file; {self._path} is not a file. Moved to {files.move_aside(self._path)}.")
            return
        rows, damaged = files.json_objects(self._path)
        damaged += [json.dumps(row).encode() for row in rows if not _is_row(row)]
        if damaged:
            aside = files.free_name(self._path)
            files.write(aside, b"\n".join(damaged) + b"\n")
            self.say(f"{len(damaged)} lines of {self._path} hold no numbers of a step. Moved to {aside}.")
        self._rows = [row for row in rows if _is_row(row) and row["step"] <= step]
        files.write(self._path, "".join(json.dumps(row) + "\n" for row in self._rows))

    def has(self, step: int, prefix: str) -> bool:
        """Return whether metrics.jsonl had numbers with this prefix for a step at the last rewind."""
        return any(row["step"] == step and any(name.startswith(prefix) for name in row) for row in self._rows)

    def write(self, step: int, numbers: Mapping[str, float], prefix: str = "") -> None:
        """Write one row of metrics.jsonl and one point of each curve; numbers that are not finite become null."""
        if not self._writes:
            return
        row = {f"{prefix}{name}": float(value) for name, value in numbers.items()}
        finite = {name: value if math.isfinite(value) else None for name, value in row.items()}
        files.append(self._path, (json.dumps({"step": step, **finite}) + "\n").encode())
        self._events.scalars(step, row)

    def progress(self, step: int, numbers: Mapping[str, float]) -> None:
        """Show the run's progress: speed, time left, and a few numbers."""
        if not self._writes:
            return
        seconds = time.perf_counter() - self._began
        rate = (step - self._first) / seconds if seconds > 0 else 0.0
        words = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=words, rate=f"{rate:.2f} steps/s")
        else:
            left = (self._steps - step) / rate if rate else float("nan")
            self.say(f"step {step}/{self._steps}  {words}  {rate:.2f} steps/s  {left:.0f} s left")

    def say(self, text: str) -> None:
        """Print one line, above the progress bar if there is one."""
        if not self._writes:
            return
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Finish the bar."""
        if self._bar is not None:
            self._bar.stop()


def _is_row(row: Mapping[str, Any]) -> bool:
    """Return whether a row has a step; JSON's true is not a step."""
    return type(row.get("step")) is int
