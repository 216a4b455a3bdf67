"""What a run tells: metrics.jsonl, TensorBoard events, and a progress bar on a terminal or plain lines elsewhere."""

import json
import math
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np


class Log:
    """The record of one run; only process 0 (`writes`) leaves anything behind.

    Rows of metrics.jsonl later than `start` (of a run that died after its last checkpoint) are removed: the file then
    reads as if the run had never been interrupted.
    """

    def __init__(self, workdir: str, steps: int, start: int = 0, writes: bool = True):
        self._writes, self._steps = writes, steps
        self._bar: Any = None
        self._began, self._first = time.perf_counter(), start
        if not writes:
            return
        path = os.path.join(workdir, "metrics.jsonl")
        _forget_after(path, start)
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (closed in close)
        from tensorboardX import SummaryWriter

        self._events = SummaryWriter(os.path.join(workdir, "events"), purge_step=start + 1 if start else None)
        if sys.stderr.isatty():
            from rich import progress

            columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn())
            times = (progress.TimeElapsedColumn(), progress.TextColumn("left"), progress.TimeRemainingColumn())
            self._bar = progress.Progress(*columns, progress.TextColumn("{task.fields[rate]}"), *times)
            self._task = self._bar.add_task("", total=steps, completed=start, rate="")
            self._bar.start()

    def write(self, step: int, numbers: Mapping[str, float], prefix: str = "") -> None:
        """One row of metrics.jsonl and one point of each curve; numbers that are not finite are written as null."""
        if not self._writes:
            return
        row = {f"{prefix}{name}": float(value) for name, value in numbers.items()}
        finite = {name: value if math.isfinite(value) else None for name, value in row.items()}
        self._file.write(json.dumps({"step": step, **finite}) + "\n")
        self._file.flush()
        for name, value in row.items():
            self._events.add_scalar(name, value, step)

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """A picture (uint8 [h w 3]) among the TensorBoard events."""
        if self._writes:
            self._events.add_image(name, picture, step, dataformats="HWC")

    def progress(self, step: int, numbers: Mapping[str, float]) -> None:
        """Where the run stands: rate, time left, and a few numbers."""
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
        """One plain line, above the bar where there is one."""
        if not self._writes:
            return
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Finish the bar and the files."""
        if not self._writes:
            return
        if self._bar is not None:
            self._bar.stop()
        self._file.close()
        self._events.close()


def _forget_after(path: str, step: int) -> None:
    if not os.path.exists(path):
        return
    with open(path, encoding="utf-8") as file:
        lines = [line for line in file if line.endswith("\n")]
    kept = [line for line in lines if json.loads(line)["step"] <= step]
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        file.writelines(kept)
    os.replace(path + ".tmp", path)
