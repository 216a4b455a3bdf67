"""The runs of a table: each row and seed is trained by its entry point in its own workdir and scored once, several at a time."""

import concurrent.futures
import contextlib
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from aeseg import spec
from aeseg.types import UserError
from experiments import cli, commands, jsonlines
from experiments.papers import Row

SCORED = ("best", "batch_statistics", "reference_boundaries")
"""What a row says of how it is scored: flags of `evaluate`, which the key of its config holds where they are set."""

CODE = 1
"""The version of what the code computes.  Raise it with a change that moves results: every row is then trained and measured anew."""

RESULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results")


def lines(table: str) -> list[dict[str, Any]]:
    """What was measured of a table, oldest first."""
    return jsonlines.read(os.path.join(RESULTS, f"{table}.jsonl"))


def current(table: str, paper: Any) -> list[dict[str, Any]]:
    """What was measured of the paper's rows as they are configured now, by this version of the code: the last line of each row and seed.

    Lines of another config or version, which `missing` has measured anew, are never shown beside them.
    """
    every = _of_this_code(table)
    named = {line["row"] for line in every}
    keys = {row.name: config_key(row) for row in paper.ROWS if row.name in named}
    return list({(line["row"], line["seed"]): line for line in every if line["config"] == keys.get(line["row"])}.values())


def workdir(runs: str, table: str, row: str, seed: int) -> str:
    """Where a row and seed is trained: no two rows of a table have the same place, nor two versions of the code."""
    version = f"-code{CODE}" if CODE > 1 else ""
    return os.path.join(runs, table, f"{re.sub('[^A-Za-z0-9]+', '-', row).strip('-')}-{seed}{version}")


def missing(table: str, paper: Any) -> list[tuple[Row, int]]:
    """The rows and seeds without a line, in the order in which they are tried."""
    there = {(line["row"], line["seed"]) for line in current(table, paper)}
    return [(row, seed) for row, seed in _every(paper) if (row.name, seed) not in there]


def failures(table: str, paper: Any, runs: str) -> dict[tuple[str, int], str]:
    """Why the rows and seeds failed that were tried last without success, by row and seed."""
    found = {}
    for row, seed in _every(paper):
        path = _error(runs, table, row.name, seed)
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                found[row.name, seed] = file.read().strip()
    return found


def append(table: str, line: dict[str, Any]) -> None:
    """Add a line to the results of a table."""
    jsonlines.write(os.path.join(RESULTS, f"{table}.jsonl"), line)


def measure_missing(table: str, paper: Any, runs: str, extra: dict[str, object], jobs: int = 1) -> dict[tuple[str, int], str]:
    """Train and score every row and seed without a line, `jobs` at once; why some failed, by row and seed.

    A row waits for the one it starts from and is left out where that failed; the others go on.  Where the workdir of the one it
    starts from is gone, that is trained again, and its line stays as it was.  An error is kept beside the workdir until the row
    is tried again.  What another process is at is left to it, and so are the rows that start from it.
    """
    every, todo = _every(paper), missing(table, paper)
    gone = {(row.init, seed) for row, seed in todo if row.init and not os.path.isdir(workdir(runs, table, row.init, seed))}
    todo = [(row, seed) for row, seed in every if (row, seed) in todo or (row.name, seed) in gone]
    return run_all(todo, table, runs, jobs, lambda row, seed, share: _measure(table, paper, row, seed, runs, extra, share))


def run_all(
    todo: Sequence[tuple[Row, int]], table: str, runs: str, jobs: int, run: Callable[[Row, int, dict[str, Any]], None]
) -> dict[tuple[str, int], str]:
    """Call `run` with each row, seed and share of the machine, `jobs` at once, each after the row it starts from; why some failed."""
    free, todo = commands.shares(jobs), list(todo)
    failed: dict[tuple[str, int], UserError] = {}
    running: dict[concurrent.futures.Future[None], tuple[Row, int, dict[str, Any]]] = {}

    def settle(row: Row, seed: int, error: UserError, told: str) -> None:
        failed[row.name, seed] = error
        if not isinstance(error, commands.Busy):
            failed[row.name, seed] = UserError(kept(_error(runs, table, row.name, seed), told))

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        while todo or running:
            busy = {(row.name, seed) for row, seed, _ in running.values()}
            for row, seed in [each for each in todo if (each[0].init, each[1]) in failed]:
                settle(row, seed, failed[row.init, seed], f"left out, because {row.init} failed")
                todo.remove((row, seed))
            waits = busy | {(row.name, seed) for row, seed in todo}
            for row, seed in [each for each in todo if (each[0].init, each[1]) not in waits][: len(free)]:
                todo.remove((row, seed))
                share = free.pop(0)
                running[pool.submit(run, row, seed, share)] = row, seed, share
            finished, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in finished:
                row, seed, share = running.pop(future)
                free.append(share)
                if (error := future.exception()) is not None:
                    if not isinstance(error, UserError):
                        raise error
                    settle(row, seed, error, str(error))
    return {which: str(error) for which, error in failed.items()}


def config_key(row: Row) -> str:
    """Names what a row runs, its config included: where that changes, the row is measured anew."""
    parts = [row.command, row.config, row.overrides, row.init, spec.plain(cli.load_config(row.config))]
    scored = [name for name in SCORED if getattr(row, name)]
    described = json.dumps([*parts, *scored], sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()[:12]


def scoring(row: Row) -> list[str]:
    """The flags of `evaluate` that the row is scored with."""
    return [f"--{name}" for name in SCORED if getattr(row, name)]


def assignments(fields: Mapping[str, object]) -> list[str]:
    """The flags that set config fields."""
    return [f"--config.{name}={value}" for name, value in fields.items()]


def configured(row: Row, extra: Mapping[str, object]) -> ConfigDict:
    """The row's config with its overrides and further fields, read as a command line's are."""
    return cli.parse(["tables", *assignments({**row.overrides, **extra})], "", config=row.config).config


def _every(paper: Any) -> list[tuple[Row, int]]:
    return [(row, seed) for seed in range(paper.SEEDS) for row in paper.ROWS]


def _measured(table: str) -> set[tuple[str, int, str]]:
    """(row, seed, config's key) of every line of this version of the code."""
    return {(line["row"], line["seed"], line["config"]) for line in _of_this_code(table)}


def _of_this_code(table: str) -> list[dict[str, Any]]:
    """The lines of this version of the code; those of the first need not say so."""
    return [line for line in lines(table) if line.get("code", 1) == CODE]


def _measure(table: str, paper: Any, row: Row, seed: int, runs: str, extra: dict[str, object], share: dict[str, Any]) -> None:
    """Train and score one row and seed, and append its line; one that only evaluates has the seconds of the run that it scores.

    Busy where another process is at it.
    """
    trains = row.command != "evaluate"
    place = workdir(runs, table, row.name if trains else row.init, seed)
    with commands.held(f"{place}.lock"):
        if os.path.isdir(place) and (row.name, seed, config_key(row)) in _measured(table):
            return  # by another process, meanwhile
        forget(runs, table, row.name, seed)
        command = [sys.executable, "-m", f"experiments.{row.command}", f"--config={row.config}", f"--workdir={place}"]
        command += assignments({"seed": seed, **row.overrides, **extra})
        if row.init:
            command.append(f"--init={workdir(runs, table, row.init, seed)}")
        print(f"[{table}] {row.name}, seed {seed}: begins", flush=True)
        log = f"{place}.log" if share["jobs"] > 1 else ""
        seconds = commands.timed(lambda: commands.call(command, share, log) if trains else "", os.path.join(place, "seconds.txt"))
        if (row.name, seed, config_key(row)) in _measured(table):
            return
        score = [sys.executable, "-m", "experiments.evaluate", f"--workdir={place}", f"--split={paper.SPLIT}", *scoring(row)]
        commands.call(score, share, log)
        with open(os.path.join(place, "metrics.json"), encoding="utf-8") as file:
            scores = json.load(file)[paper.SPLIT]
        numbers = {name: value for name, value in scores.items() if isinstance(value, int | float)}
        for each in scores.get("per_class", ()):
            numbers |= {f"iou_{each['name']}": each["iou"], f"dice_{each['name']}": each["dice"]}
        line = {"row": row.name, "seed": seed, "split": paper.SPLIT, "numbers": numbers, "seconds": round(seconds, 1)}
        where = json.loads(commands.call([sys.executable, "-m", "experiments.provenance"], share, capture=True))
        append(table, {**line, "config": config_key(row), "code": CODE, **where})
        print(f"[{table}] {row.name}, seed {seed}: measured after {seconds:.0f} s", flush=True)


def _error(runs: str, table: str, row: str, seed: int) -> str:
    """The file that says why a row and seed failed."""
    return f"{workdir(runs, table, row, seed)}.error"


def forget(runs: str, table: str, row: str, seed: int) -> None:
    """Remove what a row and seed failed with before."""
    with contextlib.suppress(FileNotFoundError):
        os.remove(_error(runs, table, row, seed))


def kept(path: str, error: str) -> str:
    """The error, which stands in the file from now on."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(error + "\n")
    return error
