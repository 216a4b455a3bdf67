"""The runs of a table: each row and seed is trained by its entry point in its own workdir and scored once, several at a time."""

import collections
import concurrent.futures
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from ml_collections import ConfigDict

from aeseg import spec
from aeseg.types import UserError
from experiments import cli
from experiments.papers import Row

SCORED = ("best", "batch_statistics")
"""What a row says of how it is scored: flags of `evaluate`, which the key of its config holds where they are set."""

RESULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results")


class Busy(UserError):
    """Another process is at this row and seed."""


def lines(table: str) -> list[dict[str, Any]]:
    """What was measured of a table, oldest first."""
    return read(os.path.join(RESULTS, f"{table}.jsonl"))


def current(table: str, paper: Any) -> list[dict[str, Any]]:
    """What was measured of the paper's rows as they are configured now: the last line of each row and seed.

    Lines of another config, which `missing` has measured anew, are never shown beside them.
    """
    every = lines(table)
    named = {line["row"] for line in every}
    keys = {row.name: config_key(row) for row in paper.ROWS if row.name in named}
    return list({(line["row"], line["seed"]): line for line in every if line["config"] == keys.get(line["row"])}.values())


def read(path: str) -> list[dict[str, Any]]:
    """The lines of a file of JSON lines, oldest first; none where there is no file."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def workdir(runs: str, table: str, row: str, seed: int) -> str:
    """Where a row and seed is trained: no two rows of a table have the same place."""
    return os.path.join(runs, table, f"{re.sub('[^A-Za-z0-9]+', '-', row).strip('-')}-{seed}")


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
    write(os.path.join(RESULTS, f"{table}.jsonl"), line)


def write(path: str, line: dict[str, Any]) -> None:
    """Add a line to a file of JSON lines: by a single write at its end, so that several processes do not mix theirs."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, (json.dumps(line) + "\n").encode())
    finally:
        os.close(file)


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
    free, todo = shares(jobs), list(todo)
    failed: dict[tuple[str, int], UserError] = {}
    running: dict[concurrent.futures.Future[None], tuple[Row, int, dict[str, Any]]] = {}

    def settle(row: Row, seed: int, error: UserError, told: str) -> None:
        failed[row.name, seed] = error
        if not isinstance(error, Busy):
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


def take_share(jobs: int) -> None:
    """Hold this process to what one of `jobs` runs would have of the machine; before JAX starts."""
    share = shares(jobs)[0]
    if share.get("cores"):
        os.sched_setaffinity(0, share["cores"])
    if share.get("gpu"):
        os.environ["CUDA_VISIBLE_DEVICES"] = share["gpu"]


def _every(paper: Any) -> list[tuple[Row, int]]:
    return [(row, seed) for seed in range(paper.SEEDS) for row in paper.ROWS]


def _measured(table: str) -> set[tuple[str, int, str]]:
    """(row, seed, config's key) of every line."""
    return {(line["row"], line["seed"], line["config"]) for line in lines(table)}


def _measure(table: str, paper: Any, row: Row, seed: int, runs: str, extra: dict[str, object], share: dict[str, Any]) -> None:
    """Train and score one row and seed, and append its line; one that only evaluates has the seconds of the run that it scores.

    Busy where another process is at it.
    """
    trains = row.command != "evaluate"
    place = workdir(runs, table, row.name if trains else row.init, seed)
    with held(f"{place}.lock"):
        if os.path.isdir(place) and (row.name, seed, config_key(row)) in _measured(table):
            return  # by another process, meanwhile
        forget(runs, table, row.name, seed)
        command = [sys.executable, "-m", f"experiments.{row.command}", f"--config={row.config}", f"--workdir={place}"]
        command += assignments({"seed": seed, **row.overrides, **extra})
        if row.init:
            command.append(f"--init={workdir(runs, table, row.init, seed)}")
        print(f"[{table}] {row.name}, seed {seed}: begins", flush=True)
        log = f"{place}.log" if share["jobs"] > 1 else ""
        seconds = timed(lambda: call(command, share, log) if trains else "", os.path.join(place, "seconds.txt"))
        if (row.name, seed, config_key(row)) in _measured(table):
            return
        score = [sys.executable, "-m", "experiments.evaluate", f"--workdir={place}", f"--split={paper.SPLIT}", *scoring(row)]
        call(score, share, log)
        with open(os.path.join(place, "metrics.json"), encoding="utf-8") as file:
            scores = json.load(file)[paper.SPLIT]
        numbers = {name: value for name, value in scores.items() if isinstance(value, int | float)}
        for each in scores.get("per_class", ()):
            numbers |= {f"iou_{each['name']}": each["iou"], f"dice_{each['name']}": each["dice"]}
        line = {"row": row.name, "seed": seed, "split": paper.SPLIT, "numbers": numbers, "seconds": round(seconds, 1)}
        where = json.loads(call([sys.executable, "-m", "experiments.provenance"], share, capture=True))
        append(table, {**line, "config": config_key(row), **where})
        print(f"[{table}] {row.name}, seed {seed}: measured after {seconds:.0f} s", flush=True)


@contextlib.contextmanager
def held(path: str) -> Iterator[None]:
    """A file is this process's alone, until then or until it dies; Busy where another process holds it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Busy("another process is at it; the same command, when that is done, takes what is left") from None
        yield


def timed(run: Callable[[], object], path: str) -> float:
    """The seconds of a run and of those before it that were cut off: each adds its own to the file."""
    began = time.perf_counter()
    try:
        run()
    finally:
        if os.path.isdir(os.path.dirname(path)):
            with open(path, "a", encoding="utf-8") as file:
                file.write(f"{time.perf_counter() - began:.1f}\n")
    with open(path, encoding="utf-8") as file:
        return sum(float(line) for line in file)


def shares(jobs: int) -> list[dict[str, Any]]:
    """What each of several runs at once may use: one GPU each where there are some, and its part of the cores."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    gpus = _gpus()
    most = len(gpus) or len(cores) or 1
    if not 1 <= jobs <= most:
        kind = "GPUs" if gpus else "cores"
        raise UserError(f"Expected --jobs of 1 to {most}, the {kind} of this machine; got {jobs}.")
    if jobs == 1:
        return [{"jobs": 1}]
    return [{"jobs": jobs, "cores": cores[slot::jobs], "gpu": gpus[slot] if gpus else ""} for slot in range(jobs)]


def _gpus() -> list[str]:
    """The GPUs that a CUDA program would see here, found without starting one."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name]
    try:
        return [str(number) for number in range(len(os.listdir("/proc/driver/nvidia/gpus")))]
    except OSError:
        return []


def call(command: list[str], share: dict[str, Any], log: str = "", capture: bool = False) -> str:
    """Run a command on its share of the machine, its output in the log where one is named, or returned; UserError where it fails."""
    if share.get("cores"):
        os.sched_setaffinity(0, share["cores"])  # of this thread, which the command inherits
    environment = {**os.environ, **({"CUDA_VISIBLE_DEVICES": share["gpu"]} if share.get("gpu") else {})}
    told: collections.deque[str] = collections.deque(maxlen=50)
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(_appended(log)) if log else None
        started = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE if capture else output, stderr=subprocess.PIPE, text=True, errors="replace"
        )
        process = stack.enter_context(started)
        for line in process.stderr:  # type: ignore[union-attr]
            told.append(line)
            print(line, end="", file=output or sys.stderr, flush=True)
        printed = process.stdout.read() if capture else ""  # type: ignore[union-attr]
        if process.wait():
            print(f"This failed: {shlex.join(command)}", file=output or sys.stderr, flush=True)
            raise UserError(f"exit code {process.returncode}: {_reason(''.join(told), process.returncode)} (see {log or 'above'})")
    return printed


def _reason(told: str, code: int) -> str:
    """Of what a command told before it failed: the last paragraph, where the user can mend the error (code 2), or the last line."""
    return " ".join(told.strip().rpartition("\n\n" if code == 2 else "\n")[2].split())


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


def _appended(path: str) -> TextIO:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return open(path, "a", encoding="utf-8")
