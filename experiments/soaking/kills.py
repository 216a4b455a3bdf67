"""Kills at random moments: the resumed run must equal the uninterrupted run bit by bit.

Most kills are snapshots: SIGSTOP stops the process, the workdir is copied as kill -9 would leave it, and the process continues.  So one
run gives several kills.  Every second snapshot waits until a checkpoint is being written.  Some runs are killed with SIGKILL.
"""

import glob
import os
import random
import shutil
import time
from collections.abc import Iterator

from . import runs
from .journal import Case, Outcome
from .runs import Bench, Setting
from .worker import Clock, Lost, Worker

RUNS = {"full": 2, "reduced": 1}
"""Runs of each kind that give snapshots."""

SNAPSHOTS = {"full": 5, "reduced": 3}
"""Snapshots of each run."""

EARNEST = {"full": 2, "reduced": 0}
"""Runs of each kind that are killed with SIGKILL."""


def cases(setting: Setting) -> Iterator[Case]:
    """Yield a case for each run; the reduced soak runs only the segmenter."""
    scale, bench, folder = setting.scale, setting.bench, setting.folder
    for kind in runs.KINDS if scale == "full" else ("segmenter",):
        for number in range(RUNS[scale]):
            name = f"{kind} {number}"
            dice = setting.dice(name)
            yield Case(name, lambda kind=kind, dice=dice: snapshots(bench.worker, bench.whole(kind), SNAPSHOTS[scale], dice, folder))
        for number in range(EARNEST[scale]):
            name = f"{kind} in earnest {number}"
            dice = setting.dice(name)
            yield Case(name, lambda kind=kind, dice=dice: killed(bench, bench.whole(kind), dice, folder))


def snapshots(worker: Worker, run: runs.Whole, number: int, dice: random.Random, folder: str) -> Outcome:
    """Train a run, copy its workdir at random moments, and resume each copy."""
    path = os.path.join(folder, "running")
    shutil.rmtree(path, ignore_errors=True)
    moments = sorted(dice.uniform(0, 0.9 * run.seconds) for _ in range(number))
    began, copies, saving = time.monotonic(), [], 0
    worker.give({"do": "train", "config": run.config, "workdir": path})
    for index, moment in enumerate(moments):
        while time.monotonic() - began < moment and not worker.answered():
            time.sleep(0.001)
        while index % 2 and not _is_saving(path) and not worker.answered():
            time.sleep(0.0005)
        if worker.answered():
            break
        copies.append(os.path.join(folder, f"copy-{index}"))
        shutil.rmtree(copies[-1], ignore_errors=True)
        with worker.paused():
            saving += _is_saving(path)
            os.makedirs(path, exist_ok=True)
            shutil.copytree(path, copies[-1], symlinks=True)
    failures = list(_ended(worker, run, path))
    for copy in copies:
        failures += [f"{os.path.basename(copy)}: {text}" for text in runs.resumed(worker, run, copy)]
    return Outcome({"kills": len(copies), "while saving": saving}, tuple(failures))


def killed(bench: Bench, run: runs.Whole, dice: random.Random, folder: str) -> Outcome:
    """Train a run in a separate process, kill it at a random moment after its first step, and resume."""
    path = os.path.join(folder, "killed")
    shutil.rmtree(path, ignore_errors=True)
    with Worker(os.path.join(folder, "victim.log"), {**runs.programs(folder), **bench.environment}) as victim:
        victim.give({"do": "train", "config": run.config, "workdir": path})
        clock = Clock(victim.pid)
        while not os.path.exists(os.path.join(path, "metrics.jsonl")) and not victim.answered() and clock.seconds() < runs.SECONDS:
            time.sleep(0.01)
        time.sleep(dice.uniform(0, run.seconds))
        saving = _is_saving(path)
        victim.kill()
    return Outcome({"kills": 1, "while saving": int(saving), "in earnest": 1}, runs.resumed(bench.worker, run, path))


def _ended(worker: Worker, run: runs.Whole, path: str) -> tuple[str, ...]:
    """Wait for the run that was stopped and continued; return its differences from the uninterrupted run."""
    try:
        answer = worker.answer(runs.SECONDS)
    except Lost as lost:
        return (str(lost),)
    return (answer["said"] + answer["traceback"],) if answer["code"] else runs.differences(run.left, runs.left(path))


def _is_saving(path: str) -> bool:
    """Return whether a checkpoint is being written: Orbax renames its folder when it is complete."""
    return bool(glob.glob(os.path.join(glob.escape(path), "checkpoints", "*orbax-checkpoint-tmp*")))
