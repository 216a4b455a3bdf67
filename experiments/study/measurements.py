"""The runs of a table: each row and seed is trained by its entry point in its own workdir and scored once, several at a time."""

import concurrent.futures
import contextlib
import functools
import glob
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aeseg import files, jsonlines
from aeseg.runs.workdir import finished
from aeseg.types import UserError

from .. import module
from ..machine import commands
from ..papers import Row
from . import descriptions
from .descriptions import SCORED, assignments, described, identity, meaning

RESULTS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "results")


def lines(table: str) -> list[dict[str, Any]]:
    """What was measured of a table, oldest first.

    A line that was measured wrongly stays in its file, with the reason as its field `withdrawn`, and is left out here.
    """
    return [line for line in jsonlines.read(os.path.join(RESULTS, f"{table}.jsonl")) if "withdrawn" not in line]


def current(table: str, paper: Any) -> list[dict[str, Any]]:
    """Return what was measured of the paper's rows as they are now, on its split: the last line of each row and seed.

    A line is of a row if its recorded config means what the row runs (`descriptions`); other lines are never shown beside it.
    """
    ids = matching(table, paper.ROWS)
    found = [line for line in lines(table) if line["config"] in ids.get(line["row"], ()) and line["split"] == paper.SPLIT]
    return list({(line["row"], line["seed"]): line for line in found}.values())


def matching(table: str, rows: Sequence[Row]) -> dict[str, set[str]]:
    """Return the ids of the recorded configs that mean what each row runs, by the row's name."""
    recorded = {name: meaning(each) for name, each in descriptions.stored(descriptions.config_file(RESULTS, table)).items()}
    wanted = {name: meaning(each) for name, each in described(rows).items()}
    return {row: {name for name, text in recorded.items() if text == wanted[row]} for row in wanted}


def workdir(runs: str, table: str, rows: Sequence[Row], name: str, seed: int) -> str:
    """Return where a row and a seed is trained: an existing workdir of that meaning, or a new path that no other row has."""
    wanted = described(rows, scored=False)[name]
    prefix = place(runs, table, name, seed)
    recorded = descriptions.stored(descriptions.config_file(RESULTS, table))
    for path in sorted(glob.glob(f"{glob.escape(prefix)}-*{os.sep}")):
        path = path.rstrip(os.sep)
        description = _description(path) or recorded.get(path.rpartition("-")[2])
        if description and meaning(description) == meaning(wanted):
            return path
    return f"{prefix}-{identity(wanted)}"


def _description(path: str) -> dict[str, Any] | None:
    """Return what a workdir's row.json says is trained there."""
    try:
        with open(os.path.join(path, "row.json"), encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def place(runs: str, table: str, name: str, seed: int) -> str:
    """What the files of a row and seed begin with."""
    return os.path.join(runs, table, f"{re.sub('[^A-Za-z0-9]+', '-', name).strip('-')}-{seed}")


def missing(table: str, paper: Any) -> list[tuple[Row, int]]:
    """The rows and seeds without a line, in the order in which they are tried."""
    there = {(line["row"], line["seed"]) for line in current(table, paper)}
    return [(row, seed) for row, seed in _every(paper) if (row.name, seed) not in there]


def wanted(table: str, paper: Any, runs: str) -> list[tuple[Row, int]]:
    """What is `missing`, and before it the runs that it starts from where they are gone, or were not finished."""
    there = {(row.name, seed) for row, seed in missing(table, paper)}
    starts = {row.name: row.init for row in paper.ROWS}
    for name, seed in tuple(there):
        while (name := starts[name]) and not finished(workdir(runs, table, paper.ROWS, name, seed)):
            there.add((name, seed))
    return [(row, seed) for row, seed in _every(paper) if (row.name, seed) in there]


def failures(table: str, paper: Any, runs: str) -> dict[tuple[str, int], str]:
    """Why the rows and seeds failed that were tried last without success, by row and seed."""
    found: dict[tuple[str, int], str] = {}
    if not glob.glob(os.path.join(glob.escape(os.path.join(runs, table)), "*.error")):
        return found
    for row, seed in _every(paper):
        path = error(workdir(runs, table, paper.ROWS, row.name, seed))
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                found[row.name, seed] = file.read().strip()
    return found


def append(table: str, line: dict[str, Any]) -> None:
    """Add a line to the results of a table."""
    jsonlines.write(os.path.join(RESULTS, f"{table}.jsonl"), line)


def measure_missing(table: str, paper: Any, runs: str, extra: dict[str, object], jobs: int = 1) -> dict[tuple[str, int], str]:
    """Train and score every row and seed without a line, `jobs` at once; why some failed, by row and seed.

    A row waits for the one it starts from and is left out where that failed; the others go on.  The runs that rows start from are
    trained again where they must be (see `wanted`); their lines stay as they were.  An error is kept beside the workdir until the row
    is tried again.  What another process is at is left to it, and so are the rows that start from it.
    """
    todo = wanted(table, paper, runs)
    where = functools.partial(workdir, runs, table, paper.ROWS)
    return run_all(todo, jobs, where, lambda row, seed, share: _measure(table, paper, row, seed, runs, extra, share))


def run_all(
    todo: Sequence[tuple[Row, int]], jobs: int, where: Callable[[str, int], str], run: Callable[[Row, int, dict[str, Any]], None]
) -> dict[tuple[str, int], str]:
    """Call `run` with each row, seed and share of the machine, `jobs` at once, each after the row it starts from; why some failed.

    An error is kept beside the workdir, which `where` has for the row's name and the seed.
    """
    todo = list(todo)
    failed: dict[tuple[str, int], UserError] = {}

    def leave(row: Row, seed: int, reason: UserError, told: str) -> None:
        failed[row.name, seed] = reason
        if not isinstance(reason, commands.Busy):
            failed[row.name, seed] = UserError(kept(error(where(row.name, seed)), told))

    def following(running: Sequence[tuple[Row, int]]) -> tuple[Row, int] | None:
        for row, seed in [each for each in todo if (each[0].init, each[1]) in failed]:
            leave(row, seed, failed[row.init, seed], f"left out, because {row.init} failed")
            todo.remove((row, seed))
        waits = {(row.name, seed) for row, seed in (*running, *todo)}
        ready = next((each for each in todo if (each[0].init, each[1]) not in waits), None)
        if ready:
            todo.remove(ready)
        return ready

    def settle(task: tuple[Row, int], future: concurrent.futures.Future[None]) -> None:
        reason = future.exception()
        if reason is None:
            return
        if not isinstance(reason, UserError):  # ours: told whole, and the other rows go on
            traceback.print_exception(reason)
            reason = UserError(f"{type(reason).__name__}: {reason}")
        leave(*task, reason, str(reason))

    commands.run_all(jobs, following, lambda task, share: run(*task, share), settle)
    return {which: str(reason) for which, reason in failed.items()}


def scoring(row: Row) -> list[str]:
    """The flags of `evaluate` that the row is scored with."""
    return [f"--{name}" for name in SCORED if getattr(row, name)]


def _every(paper: Any) -> list[tuple[Row, int]]:
    return [(row, seed) for seed in range(paper.SEEDS) for row in paper.ROWS]


def _measure(table: str, paper: Any, row: Row, seed: int, runs: str, extra: dict[str, object], share: dict[str, Any]) -> None:
    """Train and score one row and seed, and append its line; one that only evaluates has the seconds of the run that it scores.

    Its device, commit and packages are those that it was trained with; where it was scored by another commit, that is told, too.
    Busy where another process is at it.
    """
    trained = workdir(runs, table, paper.ROWS, row.init if row.command == "evaluate" else row.name, seed)
    begun = os.path.join(trained, "provenance.jsonl")
    with commands.held(f"{trained}.lock") as lock:
        measured = any((line["row"], line["seed"]) == (row.name, seed) for line in current(table, paper))
        if measured and finished(trained):
            return  # by another process, meanwhile
        forget(workdir(runs, table, paper.ROWS, row.name, seed))
        commands.say(f"[{table}] {row.name}, seed {seed}: begins")
        log = f"{trained}.log" if share["jobs"] > 1 else ""
        now = json.loads(commands.call([sys.executable, "-m", module("machine.provenance")], share, capture=True))
        if not finished(trained):
            command = [sys.executable, "-m", module(row.command), f"--config={row.config}", f"--workdir={trained}"]
            command += assignments({"seed": seed, **row.overrides, **extra})
            if row.init:
                command.append(f"--init={workdir(runs, table, paper.ROWS, row.init, seed)}")
            jsonlines.write(begun, now)  # now, for the command may outlive this process
            files.write(os.path.join(trained, "row.json"), json.dumps(described(paper.ROWS, scored=False)[row.name]))
            commands.timed(lambda: commands.call(command, share, log, lock=lock), os.path.join(trained, "seconds.txt"))
            if not finished(trained):
                raise UserError("it was stopped before its last step; the same command goes on from there")
        if measured:
            return
        score = [sys.executable, "-m", module("evaluate"), f"--workdir={trained}", f"--split={paper.SPLIT}", *scoring(row)]
        commands.call(score, share, log, lock=lock)
        with open(os.path.join(trained, "metrics.json"), encoding="utf-8") as file:
            scores = json.load(file)[paper.SPLIT]
        seconds = commands.seconds(os.path.join(trained, "seconds.txt"))
        line = {"row": row.name, "seed": seed, "split": paper.SPLIT, "numbers": numbers(scores), "seconds": round(seconds, 1)}
        then = [now, *jsonlines.read(begun)][-1]
        scored = {} if then["commit"] == now["commit"] else {"scored": now["commit"]}
        config = descriptions.store(descriptions.config_file(RESULTS, table), described(paper.ROWS)[row.name])
        append(table, {**line, "config": config, **then, **scored})
        commands.say(f"[{table}] {row.name}, seed {seed}: measured after {seconds:.0f} s")


def numbers(scores: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a run's scores, with IoU and Dice of each class, as a line keeps them.

    IoU by light is `iou_<class>_dark`; with missing modalities it is `iou_<class>_without_depth`, `iou_<class>_dark_without_depth`.
    """
    found = {name: value for name, value in scores.items() if isinstance(value, int | float)}
    for each in scores.get("per_class", ()):
        found |= {f"iou_{each['name']}": each["iou"], f"dice_{each['name']}": each["dice"]}
    for part, ending in [(scores, ""), *((each, "_without_" + "_".join(each["missing"])) for each in scores.get("subsets", ()))]:
        if not ending.endswith("_"):  # "_without_": the subset of all
            found |= {f"iou_{name}{ending}": iou for name, iou in part.get("iou", {}).items()}
            found |= {f"iou_{name}_{light}{ending}": iou for light, at in part.get("light", {}).items() for name, iou in at["iou"].items()}
    return found


def error(workdir: str) -> str:
    """The file that says why a run failed."""
    return f"{workdir}.error"


def forget(workdir: str) -> None:
    """Remove what a run failed with before."""
    with contextlib.suppress(FileNotFoundError):
        os.remove(error(workdir))


def kept(path: str, reason: str) -> str:
    """The reason, which stands in the file from now on."""
    files.write(path, reason + "\n")
    return reason
