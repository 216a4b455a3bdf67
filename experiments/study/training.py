"""Runs of a table: a command trains each row and seed in its own workdir, and each is scored once; several run at a time."""

import concurrent.futures
import contextlib
import functools
import glob
import json
import math
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aeseg import files, jsonlines
from aeseg.runs import evaluations
from aeseg.runs.workdir import finished
from aeseg.types import UserError

from .. import module
from ..machine import commands
from ..papers import with_starts
from ..recorded import descriptions, measurements
from ..recorded.descriptions import SCORED, assignments, described, identity, meaning
from ..recorded.measurements import current
from ..recorded.rows import Row, seeds_of


def workdir(runs: str, table: str, rows: Sequence[Row], name: str, seed: int) -> str:
    """Return the workdir of a row and seed: an existing workdir with the row's meaning, or a new path of this row only."""
    wanted = described(rows, scored=False)[name]
    prefix = path_prefix(runs, table, name, seed)
    recorded = descriptions.stored(descriptions.config_file(measurements.RESULTS, table))
    for path in sorted(glob.glob(f"{glob.escape(prefix)}-*{os.sep}")):
        path = path.rstrip(os.sep)
        description = files.json_object(os.path.join(path, "row.json")) or recorded.get(path.rpartition("-")[2])
        if description and meaning(description) == meaning(wanted):
            return path
    return f"{prefix}-{identity(wanted)}"


def path_prefix(runs: str, table: str, name: str, seed: int) -> str:
    """Return the path prefix of a row and seed."""
    return os.path.join(runs, table, f"{re.sub('[^A-Za-z0-9]+', '-', name).strip('-')}-{seed}")


def missing(table: str, paper: Any) -> list[tuple[Row, int]]:
    """Return the rows and seeds without a line, in the order of trying them."""
    measured = {(line["row"], line["seed"]) for line in current(table, paper)}
    return [(row, seed) for row, seed in _every(paper) if (row.name, seed) not in measured]


def wanted(table: str, paper: Any, runs: str) -> list[tuple[Row, int]]:
    """Return the `missing` rows and seeds, each after the runs that it starts from if these are gone or unfinished."""
    named = {row.name: row for row in paper.ROWS}
    todo: dict[tuple[str, int], None] = {}
    for row, seed in missing(table, paper):
        chain = [row.name]
        while (start := named[chain[-1]].init) and not finished(workdir(runs, table, paper.ROWS, start, seed)):
            chain.append(start)
        todo |= dict.fromkeys((name, seed) for name in reversed(chain))
    return [(named[name], seed) for name, seed in todo]


def failures(table: str, paper: Any, runs: str) -> dict[tuple[str, int], str]:
    """Return the errors of the rows and seeds whose last try failed."""
    errors: dict[tuple[str, int], str] = {}
    if not glob.glob(os.path.join(glob.escape(os.path.join(runs, table)), "*.error")):
        return errors
    for row, seed in _every(paper):
        path = error(workdir(runs, table, paper.ROWS, row.name, seed))
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                errors[row.name, seed] = file.read().strip()
    return errors


def measure_missing(
    table: str,
    paper: Any,
    runs: str,
    extra: dict[str, object],
    jobs: int = 1,
    shared: bool = False,
    deadline: float = math.inf,
) -> dict[tuple[str, int], str]:
    """Train and score every row and seed without a line, `jobs` at once; return the errors of those that failed.

    A row waits for the row it starts from, and is left out if that row failed; the others continue.  Runs that rows start from are trained
    again if necessary (see `wanted`); their lines do not change.  An error is kept beside the workdir until the row is tried again.  Rows
    that another process is running are left to it, with the rows that start from them; if `shared`, this process waits for them, and does
    not repeat those that fail there.  Shortly before the `deadline` (of time.monotonic) the running rows save and stop, and none begins.
    """
    todo = wanted(table, paper, runs)
    where = functools.partial(workdir, runs, table, paper.ROWS)
    before = {(row.name, seed): _written(error(where(row.name, seed))) for row, seed in todo}

    def run(row: Row, seed: int, share: dict[str, Any]) -> None:
        trained = where(row.init if row.command == "evaluate" else row.name, seed)
        path = error(where(row.name, seed))
        with commands.held(f"{trained}.lock") as lock:
            if shared and _written(path) not in (0, before[row.name, seed]):
                with open(path, encoding="utf-8") as file:
                    raise UserError(file.read().strip())
            try:
                _measure(table, paper, row, seed, runs, extra, share, trained, lock)
            except commands.Late:
                raise
            except Exception as reason:  # written under the lock: another copy sees it before it takes the row
                kept(path, str(_sentence(reason)))
                raise

    return run_all(todo, jobs, where, run, shared, deadline)


def run_all(
    todo: Sequence[tuple[Row, int]],
    jobs: int,
    where: Callable[[str, int], str],
    run: Callable[[Row, int, dict[str, Any]], None],
    waits: bool = False,
    deadline: float = math.inf,
) -> dict[tuple[str, int], str]:
    """Call `run` with each row, seed and share of the machine, `jobs` at once, each after the row it starts from; return the errors.

    `where` returns the workdir of a row's name and seed; beside it stands why a row was left out.  `waits` and `deadline`: see
    `commands.run_all`; a row for which the minutes were over did not fail.
    """
    todo = list(todo)
    failed: dict[tuple[str, int], UserError] = {}

    def following(running: Sequence[tuple[Row, int]]) -> tuple[Row, int] | None:
        for row, seed in [each for each in todo if (each[0].init, each[1]) in failed]:
            reason = failed[row.init, seed]
            if not isinstance(reason, commands.Busy):
                reason = UserError(kept(error(where(row.name, seed)), f"left out, because {row.init} failed"))
            failed[row.name, seed] = reason
            todo.remove((row, seed))
        waits = {(row.name, seed) for row, seed in (*running, *todo)}
        ready = next((each for each in todo if (each[0].init, each[1]) not in waits), None)
        if ready:
            todo.remove(ready)
        return ready

    def settle(task: tuple[Row, int], future: concurrent.futures.Future[None]) -> None:
        reason = future.exception()
        if reason is None or isinstance(reason, commands.Late):
            return
        if not isinstance(reason, UserError):  # a bug: print its traceback; the other rows continue
            traceback.print_exception(reason)
        row, seed = task
        failed[row.name, seed] = _sentence(reason)

    commands.run_all(jobs, following, lambda task, share: run(*task, share), settle, waits, deadline)
    return {which: str(reason) for which, reason in failed.items()}


def _sentence(reason: BaseException) -> UserError:
    return reason if isinstance(reason, UserError) else UserError(f"{type(reason).__name__}: {reason}")


def scoring(row: Row) -> list[str]:
    """Return the flags of `evaluate` that score the row."""
    return [f"--{name}" for name in SCORED if getattr(row, name)]


def _every(paper: Any) -> list[tuple[Row, int]]:
    """Return all rows and seeds in the order of their worth: the paper's TIERS, each row after its start, then seed by seed."""
    rows, most = {row.name: row for row in paper.ROWS}, max(seeds_of(row, paper) for row in paper.ROWS)
    tiers = [([name for name in names if name in rows], seeds) for names, seeds in getattr(paper, "TIERS", ())]
    order: dict[tuple[str, int], None] = {}
    for names, seeds in (*tiers, (list(rows), most)):
        for seed in range(seeds):
            for row in with_starts(paper.ROWS, names):
                if seed < seeds_of(row, paper):
                    order[row.name, seed] = None
    return [(rows[name], seed) for name, seed in order]


def _measure(
    table: str,
    paper: Any,
    row: Row,
    seed: int,
    runs: str,
    extra: dict[str, object],
    share: dict[str, Any],
    trained: str,
    lock: int,
) -> None:
    """Train and score one row and seed, and append its line; a row that only evaluates gets the seconds of the run that it scores.

    The line has the device, commit and packages of the training, and also the commit of the scoring if it differs.

    trained  the workdir of the training
    lock     descriptor of its lock, which the commands inherit
    """
    begun = os.path.join(trained, "provenance.jsonl")
    measured = any((line["row"], line["seed"]) == (row.name, seed) for line in current(table, paper))
    if measured and finished(trained):
        return  # another process measured it
    forget(workdir(runs, table, paper.ROWS, row.name, seed))
    commands.say(f"[{table}] {row.name}, seed {seed}: begins")
    log = f"{trained}.log" if share["jobs"] > 1 else ""
    now = json.loads(commands.call([sys.executable, "-m", module("machine.provenance")], share, capture=True))
    if not finished(trained):
        command = [sys.executable, "-m", module(row.command), f"--config={row.config}", f"--workdir={trained}"]
        command += assignments({"seed": seed, **row.overrides, **extra})
        if row.init:
            command.append(f"--init={workdir(runs, table, paper.ROWS, row.init, seed)}")
        jsonlines.write(begun, now)  # written before, because the command may outlive this process
        files.write(os.path.join(trained, "row.json"), json.dumps(described(paper.ROWS, scored=False)[row.name]))
        commands.timed(lambda: commands.call(command, share, log, lock=lock), os.path.join(trained, "seconds.txt"))
        if not finished(trained):
            raise UserError("it was stopped before its last step; the same command continues from there")
    if measured:
        return
    score = [sys.executable, "-m", module("evaluate"), f"--workdir={trained}", f"--split={paper.SPLIT}", *scoring(row)]
    commands.call(score, share, log, lock=lock)
    scores = evaluations.read(trained).last[paper.SPLIT]
    seconds = commands.seconds(os.path.join(trained, "seconds.txt"))
    line = {"row": row.name, "seed": seed, "split": paper.SPLIT, "numbers": numbers(scores), "seconds": round(seconds, 1)}
    if metric := getattr(paper, "CURVES", {}).get(row.name):
        line["curve"] = curve(trained, metric)
    then = [now, *jsonlines.read(begun)][-1]
    scored = {} if then["commit"] == now["commit"] else {"scored": now["commit"]}
    config = descriptions.store(descriptions.config_file(measurements.RESULTS, table), described(paper.ROWS)[row.name])
    measurements.append(table, {**line, "config": config, **then, **scored})
    commands.say(f"[{table}] {row.name}, seed {seed}: measured after {seconds:.0f} s")


def numbers(scores: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a run's scores, with IoU and Dice of each class, as a line keeps them.

    By light, IoU and mean IoU are `iou_<class>_dark` and `mean_iou_dark`; with missing modalities they are `iou_<class>_without_depth`,
    `iou_<class>_dark_without_depth`, and so on.
    """
    scalars = {name: value for name, value in scores.items() if isinstance(value, int | float)}
    for each in scores.get("per_class", ()):
        scalars |= {f"iou_{each['name']}": each["iou"], f"dice_{each['name']}": each["dice"]}
    for part, ending in [(scores, ""), *((each, "_without_" + "_".join(each["missing"])) for each in scores.get("subsets", ()))]:
        if not ending.endswith("_"):  # "_without_": the subset of all
            for light, at in (("", part), *((f"_{name}", at) for name, at in part.get("light", {}).items())):
                scalars |= {f"mean_iou{light}{ending}": at["mean_iou"]} if "mean_iou" in at else {}
                scalars |= {f"iou_{name}{light}{ending}": iou for name, iou in at.get("iou", {}).items()}
    return scalars


def _written(path: str) -> int:
    """Return when a file was written, 0 if it is absent."""
    return os.stat(path).st_mtime_ns if os.path.exists(path) else 0


def curve(workdir: str, metric: str) -> list[tuple[int, float]]:
    """Return (step, value) of a validation metric that a run logged."""
    logged = jsonlines.read(os.path.join(workdir, "metrics.jsonl"))
    return [(line["step"], line[f"validation/{metric}"]) for line in logged if f"validation/{metric}" in line]


def error(workdir: str) -> str:
    """Return the path of the file with a run's error."""
    return f"{workdir}.error"


def forget(workdir: str) -> None:
    """Remove the error of a run."""
    with contextlib.suppress(FileNotFoundError):
        os.remove(error(workdir))


def kept(path: str, reason: str) -> str:
    """Write the reason to the file, and return it."""
    files.write(path, reason + "\n")
    return reason
