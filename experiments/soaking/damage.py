"""Truncate, empty, delete or flip bits of each file of the newest checkpoint.  The same command must reach the same results."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from . import runs
from .journal import Case, Outcome
from .runs import Setting
from .worker import Worker

WAYS = ("truncate", "empty", "delete", "flip")

REDUCED = 6
"""Number of damages in the reduced soak; the seed draws them."""


def files_of(folder: Path, step: int) -> list[Path]:
    """Return the files of a step's checkpoint, sorted, relative to the folder of checkpoints."""
    return sorted(path.relative_to(folder) for path in (folder / str(step)).rglob("*") if path.is_file())


def spoil(path: Path, way: str) -> None:
    """Damage a file: `truncate` it to half, `empty` it, `delete` it, or `flip` a bit at a quarter, the middle and the end."""
    contents = path.read_bytes()
    if way == "delete":
        path.unlink()
    elif way == "flip":
        for position in {len(contents) // 4, len(contents) // 2, len(contents) - 1} if contents else ():
            contents = contents[:position] + bytes([contents[position] ^ 4]) + contents[position + 1 :]
        path.write_bytes(contents)
    else:
        path.write_bytes(contents[: len(contents) // 2] if way == "truncate" else b"")


def cases(setting: Setting) -> Iterator[Case]:
    """Yield a case for each damage to the last checkpoint of a segmenter."""
    run = setting.bench.whole("segmenter")
    # Orbax names some files at random; the same index of the sorted list is the same kind of file.
    files = files_of(Path(run.workdir, "checkpoints"), runs.STEPS)
    pairs = [(index, way) for index in range(len(files)) for way in WAYS]
    for index, way in pairs if setting.scale == "full" else setting.dice("damage").sample(pairs, REDUCED):
        yield Case(f"{way} file {index}", lambda file=files[index], way=way: damaged(setting.bench.worker, run, file, way, setting.folder))


def damaged(worker: Worker, run: runs.Whole, file: Path, way: str, folder: str) -> Outcome:
    """Damage a file in a copy of the finished run, then resume the copy."""
    copy = Path(folder, "damaged")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run.workdir, copy)
    spoil(copy / "checkpoints" / file, way)
    return Outcome({"damages": 1}, tuple(f"{file}: {text}" for text in runs.resumed(worker, run, str(copy))))
