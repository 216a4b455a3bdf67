"""Every file of the newest checkpoint, truncated, emptied, deleted and with flipped bits: the same command still ends as it did."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from . import runs
from .journal import Case, Outcome
from .runs import Setting
from .worker import Worker

WAYS = ("truncate", "empty", "delete", "flip")

REDUCED = 6
"""Damages of the reduced soak, drawn by its seed."""


def files_of(folder: Path, step: int) -> list[Path]:
    """Return the files of a checkpoint, relative to the folder of all."""
    return sorted(path.relative_to(folder) for path in (folder / str(step)).rglob("*") if path.is_file())


def spoil(path: Path, way: str) -> None:
    """Damage one file: `truncate` to a half, `empty`, `delete`, or `flip` a bit at a quarter, the middle and the end."""
    contents = path.read_bytes()
    if way == "delete":
        path.unlink()
    elif way == "flip":
        for place in {len(contents) // 4, len(contents) // 2, len(contents) - 1} if contents else ():
            contents = contents[:place] + bytes([contents[place] ^ 4]) + contents[place + 1 :]
        path.write_bytes(contents)
    else:
        path.write_bytes(contents[: len(contents) // 2] if way == "truncate" else b"")


def cases(setting: Setting) -> Iterator[Case]:
    """Yield a case for each damage of the last checkpoint of a segmenter."""
    run = setting.bench.whole("segmenter")
    # Orbax names some files at random; the same place of the sorted list is the same kind of file.
    found = files_of(Path(run.workdir, "checkpoints"), runs.STEPS)
    pairs = [(place, way) for place in range(len(found)) for way in WAYS]
    for place, way in pairs if setting.scale == "full" else setting.dice("damage").sample(pairs, REDUCED):
        yield Case(f"{way} file {place}", lambda file=found[place], way=way: damaged(setting.bench.worker, run, file, way, setting.folder))


def damaged(worker: Worker, run: runs.Whole, file: Path, way: str, folder: str) -> Outcome:
    """Damage a file in a copy of the finished run and give the same command again."""
    copy = Path(folder, "damaged")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run.workdir, copy)
    spoil(copy / "checkpoints" / file, way)
    return Outcome({"damages": 1}, tuple(f"{file}: {text}" for text in runs.resumed(worker, run, str(copy))))
