"""Runs of a sweep: a command trains each trial and seed in its own workdir, several at a time, and each adds a line."""

import concurrent.futures
import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from aeseg import jsonlines, spec
from aeseg.runs import workdir as workdirs
from aeseg.types import UserError

from .. import module
from ..machine import commands
from ..recorded.descriptions import assignments
from ..study.significance import interval
from .samplers import Sampler
from .space import Fields


class Sweep(NamedTuple):
    """State shared by a sweep's runs: command, config, its overrides and weights, metric, seeds, directory and its lock.

    `shared`: other processes also run trials of the sweep.  `deadline`: when (of time.monotonic) the minutes are over.
    """

    command: str
    config: str
    overrides: dict[str, Any]
    init: str
    metric: str
    larger_is_better: bool
    seeds: tuple[int, ...]
    workdir: str
    lock: int | None = None
    shared: bool = False
    deadline: float = math.inf

    @property
    def record(self) -> str:
        """Return the file with a line per run."""
        return os.path.join(self.workdir, "trials.jsonl")

    def folder_of(self, trial: int, seed: int) -> str:
        """Return the workdir of a trial and seed."""
        return os.path.join(self.workdir, "trials", f"{trial:03d}-{seed}")


class Trial(NamedTuple):
    """Outcome of a trial: the validation metric of each seed, the seconds and workdirs of its runs, and its error."""

    number: int
    fields: Fields
    values: list[float]
    seconds: float
    places: list[str]
    error: str = ""

    @property
    def mean(self) -> float:
        """Return the mean over seeds, which selects the winner."""
        return interval(self.values)[0]


def run_all(sweep: Sweep, sampler: Sampler, jobs: int) -> bool:
    """Run every trial and seed without a value, `jobs` at once; append a line for each, with its error if it failed.

    Shortly before the sweep's deadline the runs save and stop, and none begins.  Return whether all ended before it.

    If one seed of a trial fails, its other seeds are left out; the other trials continue.  Equal fields are run only once: a trial copies
    their result, or waits for it.
    """
    lines = jsonlines.read(sweep.record)
    before, done = len(lines), {(line["trial"], line["seed"]): line for line in lines if "value" in line}
    asked: list[Fields] = []
    todo: list[tuple[int, int]] = []
    failed: set[int] = set()
    where: dict[str, Any] = {}
    locks: dict[tuple[int, int], contextlib.ExitStack] = {}

    def note(number: int, seed: int, line: dict[str, Any]) -> None:
        if not line.pop("recorded", False):
            line = {"trial": number, "seed": seed, "fields": spec.plain(asked[number]), **line, **where}
            jsonlines.write(sweep.record, line)
        if "error" in line:
            failed.add(number)
            print(f"[sweep] trial {number}, seed {seed}: failed: {line['error']}", file=sys.stderr, flush=True)
        else:
            done[number, seed] = line
            print(f"[sweep] trial {number}, seed {seed}: {sweep.metric} {line['value']:.4g} after {line['seconds']:.0f} s", flush=True)

    def tell(number: int) -> None:
        values = [done[number, seed]["value"] for seed in sweep.seeds if (number, seed) in done]
        if len(values) == len(sweep.seeds):
            sampler.tell(number, interval(values)[0])

    def following(running: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
        """Return the next trial and seed that need not wait for equal fields of the same seed."""
        now = [(seed, asked[number]) for number, seed in running]
        while True:
            ready = next(((number, seed) for number, seed in todo if (seed, asked[number]) not in now), None)
            if ready is None and len(asked) >= sampler.trials:
                return None
            if ready is None:
                number = len(asked)
                asked.append(sampler.ask(number))
                _check_same(sweep, number, asked[number], list(done.values()))
                todo.extend((number, seed) for seed in sweep.seeds if (number, seed) not in done)
                tell(number)
                continue
            todo.remove(ready)
            number, seed = ready
            fields = spec.plain(asked[number])
            twin = next((line for (_, other), line in done.items() if other == seed and line["fields"] == fields), None)
            if twin:
                note(number, seed, {**twin, "trial": number, "seconds": 0.0})
                tell(number)
            elif number not in failed:
                return ready

    def run(task: tuple[int, int], share: dict[str, Any]) -> dict[str, Any]:
        (number, seed), lock = task, sweep.lock
        if sweep.shared:
            locks[task] = contextlib.ExitStack()
            lock = locks[task].enter_context(commands.held(f"{sweep.folder_of(number, seed)}.lock"))
            for line in reversed(jsonlines.read(sweep.record)[before:]):
                if (line["trial"], line["seed"]) == task:
                    return {**line, "recorded": True}  # by another process
        if not where:  # a separate process, with the runs' resources, reports the provenance
            where.update(json.loads(commands.call([sys.executable, "-m", module("machine.provenance")], share, capture=True)))
        return _run(sweep._replace(lock=lock), number, seed, asked[number], share)

    def settle(task: tuple[int, int], future: concurrent.futures.Future[dict[str, Any]]) -> None:
        with locks.pop(task, contextlib.nullcontext()):  # held until the line is written
            error = future.exception()
            if isinstance(error, commands.Late):
                return
            if error is not None and not isinstance(error, UserError):
                raise error
            note(*task, {"error": str(error)} if error else future.result())
        tell(task[0])

    commands.run_all(jobs, following, run, settle, sweep.shared, sweep.deadline)
    return time.monotonic() < sweep.deadline - commands.RESERVE


def outcomes(sweep: Sweep) -> list[Trial]:
    """Return the outcomes of all tried trials: the best first, then unfinished trials, then failed ones."""
    last = {(line["trial"], line["seed"]): line for line in jsonlines.read(sweep.record)}
    tried = []
    for number in sorted({number for number, _ in last}):
        lines = [last[number, seed] for seed in sweep.seeds if (number, seed) in last]
        finished = [line for line in lines if "value" in line]
        error = "; ".join(f"seed {line['seed']}: {line['error']}" for line in lines if "error" in line)
        values, folders = [line["value"] for line in finished], [line["workdir"] for line in finished]
        tried.append(Trial(number, lines[0]["fields"], values, sum(line["seconds"] for line in finished), folders, error))
    sign = -1 if sweep.larger_is_better else 1
    return sorted(
        tried, key=lambda trial: (bool(trial.error), -len(trial.values), sign * trial.mean if trial.values else 0.0, trial.number)
    )


def winner(sweep: Sweep, tried: Sequence[Trial]) -> Trial | None:
    """Return the best trial with a value for every seed, or None."""
    return next((trial for trial in tried if not trial.error and len(trial.values) == len(sweep.seeds)), None)


def table(sweep: Sweep, tried: Sequence[Trial]) -> str:
    """Format the trials as Markdown, the best first, in the metric's unit."""
    names = list(dict.fromkeys(name for trial in tried for name in trial.fields))
    failed = any(trial.error for trial in tried)
    header = ["trial", *names, f"validation {sweep.metric}", "seeds", "seconds", *(["error"] if failed else [])]
    rows = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for trial in tried:
        cells = [str(trial.number), *(said(trial.fields[name]) if name in trial.fields else "" for name in names)]
        cells += [
            spread(trial.values),
            str(len(trial.values)),
            f"{trial.seconds:.0f}",
            *([trial.error.replace("|", "/")] if failed else []),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def spread(values: Sequence[float]) -> str:
    """Format `0.371 ± 0.045`: mean and half of the 95 % interval; only the mean for one value, "" without values."""
    if not values:
        return ""
    mean, half = interval(values)
    return f"{mean:.4g}" + (f" ± {half:.2g}" if half == half else "")


def said(value: Any) -> str:
    """Format a value of a field, floats with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def validation(workdir: str, metric: str) -> float:
    """Return the metric of a finished run at its last step, from its metrics.jsonl."""
    steps, values = workdirs.stored_config(workdir).steps, workdirs.validated(workdir, metric)
    if max(values, default=None) != steps:
        last = f"the last is of step {max(values)}" if values else "there is none"
        raise UserError(f"Expected validation/{metric} of step {steps} in {workdir}/metrics.jsonl; {last}. The same command continues.")
    if values[steps] is None:
        raise UserError(f"validation/{metric} is not finite at step {steps} of {workdir}.")
    return values[steps]


def _run(sweep: Sweep, number: int, seed: int, fields: Fields, share: dict[str, Any]) -> dict[str, Any]:
    """Train one trial and seed; return the fields of its line."""
    workdir = sweep.folder_of(number, seed)
    command = [sys.executable, "-m", module(sweep.command), f"--config={sweep.config}", f"--workdir={workdir}"]
    command += assignments({**sweep.overrides, **fields, "seed": seed})
    command += [f"--init={sweep.init}"] if sweep.init else []
    print(f"[sweep] trial {number}, seed {seed}: {' '.join(f'{name}={said(value)}' for name, value in fields.items())}", flush=True)
    log = f"{workdir}.log" if share["jobs"] > 1 else ""
    seconds = commands.timed(lambda: commands.call(command, share, log, lock=sweep.lock), os.path.join(workdir, "seconds.txt"))
    value = validation(workdir, sweep.metric)
    return {"metric": sweep.metric, "value": value, "seconds": round(seconds, 1), "workdir": workdir}


def _check_same(sweep: Sweep, number: int, fields: Fields, lines: Sequence[dict[str, Any]]) -> None:
    """Raise UserError if a recorded trial has other fields than the sampler now gives."""
    for line in lines:
        if line["trial"] == number and line["fields"] != spec.plain(fields):
            raise UserError(
                f"{sweep.record} has trial {number} with {line['fields']}; the sampler gives it {fields}. "
                "Restore the sampler's files and version, or set another --workdir."
            )
