"""Evaluations of a run, in its metrics.json (or another file of the same form, such as probe.json).

The file holds the last scores of each split by the split's name and, under "evaluations", all scores ever measured, with split and date.
A missing file holds no evaluation, nor does a file with other content; `add` moves such a file aside, with a message.
"""

import datetime
import json
import os
import sys
from typing import Any, NamedTuple

from aeseg import files

FILE = "metrics.json"

Scores = dict[str, Any]


class Evaluations(NamedTuple):
    """The last scores of each split, and all scores, oldest first, each with its `split` and `date`."""

    last: dict[str, Scores]
    every: list[Scores]


def read(workdir: str, name: str = FILE) -> Evaluations:
    """Return the evaluations in a file of a workdir."""
    entries = files.json_object(os.path.join(workdir, name))
    every = entries.pop("evaluations", [])
    valid = isinstance(every, list) and all(isinstance(scores, dict) for scores in (*entries.values(), *every))
    return Evaluations(entries, every) if valid else Evaluations({}, [])


def add(workdir: str, split: str, scores: Scores, name: str = FILE) -> str:
    """Add an evaluation to a file of a workdir; return the file's path."""
    path, before = os.path.join(workdir, name), read(workdir, name)
    if os.path.lexists(path) and before == ({}, []):
        print(f"{path} holds no scores; it is moved to {files.move_aside(path)}.", file=sys.stderr)
    measured = {"split": split, "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), **scores}
    files.write(path, json.dumps({**before.last, split: scores, "evaluations": [*before.every, measured]}, indent=1) + "\n")
    return path
