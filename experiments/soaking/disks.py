"""Full disks: the run ends with one sentence; with more space it resumes and equals the uninterrupted run bit by bit.

A full disk is a limit on the size of each file, as a quota sets, or a small tmpfs if mounting is allowed.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator

from . import runs
from .journal import Case, Outcome
from .runs import Setting
from .worker import Lost, Worker

LIMITS = {"full": (0, 50, 400, 1_500, 4_000, 12_000, 30_000, 100_000), "reduced": (0, 4_000)}
"""Largest file, in bytes."""

SIZES = {"full": (4, 16, 48, 96, 160, 256, 400, 800), "reduced": ()}
"""Sizes of the tmpfs, in kilobytes."""


def cases(setting: Setting) -> Iterator[Case]:
    """Yield a case for each disk; each trains a segmenter on it."""
    worker, folder = setting.bench.worker, setting.folder
    run = setting.bench.whole("segmenter")
    for limit in LIMITS[setting.scale]:
        yield Case(f"files of {limit} bytes", lambda limit=limit: limited(worker, run, limit, folder))
    for size in SIZES[setting.scale]:
        yield Case(f"a disk of {size} kB", lambda size=size: mounted(worker, run, size, folder))


def limited(worker: Worker, run: runs.Whole, limit: int, folder: str) -> Outcome:
    """Train with files of at most `limit` bytes, then without a limit."""
    path = os.path.join(folder, "limited")
    shutil.rmtree(path, ignore_errors=True)
    failures = _filled(worker, run, path, {"limit": limit})
    return Outcome({"full disks": 1}, (*failures, *runs.resumed(worker, run, path)))


def mounted(worker: Worker, run: runs.Whole, size: int, folder: str) -> Outcome:
    """Train on a tmpfs of `size` kilobytes, enlarge it, and resume."""
    disk = os.path.join(folder, "disk")
    os.makedirs(disk, exist_ok=True)
    if not _done("mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", disk):
        return Outcome({"disks that may not be mounted": 1})
    try:
        path = os.path.join(disk, "run")
        failures = _filled(worker, run, path, {})
        _done("mount", "-o", "remount,size=64m", disk)
        return Outcome({"full disks": 1}, (*failures, *runs.resumed(worker, run, path)))
    finally:
        _done("umount", disk)


def _filled(worker: Worker, run: runs.Whole, path: str, more: dict[str, int]) -> tuple[str, ...]:
    """Train while the disk fills up; return a sentence if the run ended wrongly."""
    try:
        answer = worker.ask({"do": "train", "config": run.config, "workdir": path, **more}, runs.SECONDS)
    except Lost as lost:
        return (str(lost),)
    wrong = runs.refusal(answer, codes=(0, 2))  # 0: everything fitted
    return () if not wrong or (answer["code"] == 0 and wrong.startswith("expected a sentence")) else (wrong,)


def _done(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
