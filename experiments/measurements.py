"""The runs of a table: each row and seed is trained by its entry point in its own workdir and scored once, several at a time."""

import concurrent.futures
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

from aeseg import spec
from aeseg.types import UserError
from experiments import cli
from experiments.papers import Row

RESULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results")

_appending = threading.Lock()


def lines(table: str) -> list[dict[str, Any]]:
    """What was measured of a table, oldest first."""
    path = os.path.join(RESULTS, f"{table}.jsonl")
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def workdir(runs: str, table: str, row: str, seed: int) -> str:
    """Where a row and seed is trained."""
    return os.path.join(runs, table, f"{cli.run_name(row)}-{seed}")


def measure_missing(table: str, paper: Any, runs: str, extra: dict[str, object], jobs: int = 1) -> list[str]:
    """Train and score every row and seed without a line, `jobs` at once; one sentence for each that failed.

    A row waits for the one it starts from and is left out where that failed; the others go on.  Where the workdir of the one it
    starts from is gone, that is trained again, and its line stays as it was.
    """
    shares = _shares(jobs)
    every = [(row, seed) for seed in range(paper.SEEDS) for row in paper.ROWS]
    todo = [(row, seed) for row, seed in every if not _measured(table, row, seed)]
    gone = {(row.init, seed) for row, seed in todo if row.init and not os.path.isdir(workdir(runs, table, row.init, seed))}
    todo = [(row, seed) for row, seed in every if (row, seed) in todo or (row.name, seed) in gone]
    failed: dict[tuple[str, int], str] = {}
    running: dict[concurrent.futures.Future[None], tuple[Row, int, dict[str, Any]]] = {}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        while todo or running:
            busy = {(row.name, seed) for row, seed, _ in running.values()}
            for row, seed in [each for each in todo if (each[0].init, each[1]) in failed]:
                failed[row.name, seed] = f"{row.name}, seed {seed}: left out, because {row.init} failed"
                todo.remove((row, seed))
            waits = busy | {(row.name, seed) for row, seed in todo}
            for row, seed in [each for each in todo if (each[0].init, each[1]) not in waits][: len(shares)]:
                todo.remove((row, seed))
                share = shares.pop(0)
                running[pool.submit(_measure, table, paper, row, seed, runs, extra, share)] = row, seed, share
            finished, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in finished:
                row, seed, share = running.pop(future)
                shares.append(share)
                if (error := future.exception()) is not None:
                    if not isinstance(error, UserError):
                        raise error
                    failed[row.name, seed] = f"{row.name}, seed {seed}: {error}"
    return list(failed.values())


def config_key(row: Row) -> str:
    """Names what a row runs, its config included: where that changes, the row is measured anew."""
    described = json.dumps([row.command, row.config, row.overrides, row.init, spec.plain(cli.load_config(row.config))], sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()[:12]


def _measured(table: str, row: Row, seed: int) -> bool:
    return (row.name, seed, config_key(row)) in {(line["row"], line["seed"], line["config"]) for line in lines(table)}


def _measure(table: str, paper: Any, row: Row, seed: int, runs: str, extra: dict[str, object], share: dict[str, Any]) -> None:
    """Train and score one row and seed, and append its line."""
    place = workdir(runs, table, row.name, seed)
    command = [sys.executable, "-m", f"experiments.{row.command}", f"--config={row.config}", f"--workdir={place}"]
    command += [f"--config.{name}={value}" for name, value in {"seed": seed, **row.overrides, **extra}.items()]
    if row.init:
        command.append(f"--init={workdir(runs, table, row.init, seed)}")
    print(f"[{table}] {row.name}, seed {seed}: begins", flush=True)
    log = f"{place}.log" if share["jobs"] > 1 else ""
    seconds = _timed(lambda: _call(command, share, log), os.path.join(place, "seconds.txt"))
    if _measured(table, row, seed):
        return
    _call([sys.executable, "-m", "experiments.evaluate", f"--workdir={place}", f"--split={paper.SPLIT}"], share, log)
    with open(os.path.join(place, "metrics.json"), encoding="utf-8") as file:
        scores = json.load(file)[paper.SPLIT]
    numbers = {name: value for name, value in scores.items() if isinstance(value, int | float)}
    for each in scores.get("per_class", ()):
        numbers |= {f"iou_{each['name']}": each["iou"], f"dice_{each['name']}": each["dice"]}
    line = {"row": row.name, "seed": seed, "split": paper.SPLIT, "numbers": numbers, "seconds": round(seconds, 1)}
    where = json.loads(_call([sys.executable, "-m", "experiments.provenance"], share, capture=True))
    os.makedirs(RESULTS, exist_ok=True)
    with _appending, open(os.path.join(RESULTS, f"{table}.jsonl"), "a", encoding="utf-8") as file:
        file.write(json.dumps({**line, "config": config_key(row), **where}) + "\n")
    print(f"[{table}] {row.name}, seed {seed}: measured after {seconds:.0f} s", flush=True)


def _timed(call: Callable[[], object], path: str) -> float:
    """The seconds of a call and of those before it that were cut off: each adds its own to the file."""
    began = time.perf_counter()
    try:
        call()
    finally:
        if os.path.isdir(os.path.dirname(path)):
            with open(path, "a", encoding="utf-8") as file:
                file.write(f"{time.perf_counter() - began:.1f}\n")
    with open(path, encoding="utf-8") as file:
        return sum(float(line) for line in file)


def _shares(jobs: int) -> list[dict[str, Any]]:
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


def _call(command: list[str], share: dict[str, Any], log: str = "", capture: bool = False) -> str:
    """Run a command on its share of the machine, its output in the log where one is named, or returned; UserError where it fails."""
    if share.get("cores"):
        os.sched_setaffinity(0, share["cores"])  # of this thread, which the command inherits
    environment = {**os.environ, **({"CUDA_VISIBLE_DEVICES": share["gpu"]} if share.get("gpu") else {})}
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(_appended(log)) if log else None
        done = subprocess.run(
            command, check=False, env=environment, stdout=subprocess.PIPE if capture else output, stderr=output, text=True
        )
    if done.returncode:
        raise UserError(f"failed with exit code {done.returncode} (see {log or 'above'}): {' '.join(command)}")
    return done.stdout


def _appended(path: str) -> TextIO:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return open(path, "a", encoding="utf-8")
