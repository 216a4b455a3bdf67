"""Search values of config fields: choose the best on the validation set, and score it once on the test set.

python -m experiments.sweep --space="optimiser.learning_rate=1e-3,2e-3,4e-3 method.head.convolutions=1,2"  a grid: six runs of `segment`
python -m experiments.sweep --space="optimiser.learning_rate=log(1e-4,1e-2)" --trials=20 --seeds=3 --jobs=2  random, three seeds each
python -m experiments.sweep --config=pretrain:masked --space=my_space.py --trials=30 --sampler=optuna-tpe    a file with get_space()
python -m experiments.sweep --init=runs/pretrain --config.steps=400 --space="transfer=fine-tune,scratch"       flags for every trial

The config selects `pretrain` or `segment`.  Its field `best` selects the metric of the comparison, in metrics.jsonl at the last step, whose
checkpoint all later commands use.  The mean over --seeds decides.  Losses are comparable only between trials with the same loss;
--config.best=psnr selects another metric.  experiments/search/space.py describes the syntax of a space.

The sweep's directory has sweep.json (the same command continues, another command is an error; one process at a time, or --copies),
trials/<trial>-<seed> (workdirs), trials.jsonl (a line per run), winner.json (the winner's config, for --config) and report.json.  The
same command repeats failed trials until there is a winner.  --minutes=60 runs trials in the sampler's order until the minutes are over; the
same command continues.  The winner is saved before the test set is read, and never changes.  After that, the same command trains nothing,
and scores only the winner's runs that have no score.
"""

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from aeseg import files, spec
from aeseg.runs import evaluations
from aeseg.runs import workdir as workdirs
from aeseg.runs.data import split_config
from aeseg.runs.example import config_example
from aeseg.runs.run import LARGER_IS_BETTER, SCORES, is_segmenter
from aeseg.spec import build
from aeseg.training import state as states
from aeseg.types import UserError

from . import module
from .console import cli
from .machine import commands, copies, process
from .search import samplers, trials
from .search import space as spaces
from .search.space import Space
from .search.trials import Sweep, Trial
from .search.typed import typed

MAY_CHANGE = tuple(f"config.{name}" for name in workdirs.MAY_CHANGE)
"""Flags that may change when a sweep continues; the number of trials may also change until there is a winner."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    flags = cli.parse(
        argv,
        __doc__,
        config="segment",
        space=("", f"{spaces.GRAMMAR}; or a Python file with get_space()"),
        sampler=("", f"{', '.join(samplers.SAMPLERS)}; default: grid, or random if the space has ranges"),
        sampler_seed=(0, "seed of random and Optuna's samplers"),
        trials=(0, "number of trials; 0: all of a finite space"),
        seeds=(1, "runs per trial, with seeds from the config's seed on; their mean decides"),
        jobs=(1, "number of concurrent runs, each on its own GPU or part of the cores"),
        minutes=(0.0, "minutes after which the runs save and stop; the same command continues; 0: no limit"),
        **copies.OPTIONS,
        init=("", "weights that every trial starts from, as in `segment` and `pretrain`"),
        workdir=("", "folder of the sweep; default runs/sweep-<config>"),
    )
    deadline = commands.deadline(flags.minutes)
    sweep, space = described(flags)
    commands.shares(flags.jobs)
    sampler = samplers.sampler(flags.sampler, space, flags.trials, flags.sampler_seed, sweep.workdir, sweep.larger_is_better)
    if (flags.copies > 1 or flags.cluster) and flags.sampler in samplers.OPTUNA:
        raise UserError(f"--sampler={flags.sampler} needs the results of earlier trials; copies share the trials of grid and random only.")
    if flags.cluster:
        return copies.submit("sweep", cli.taken(argv[1:], "cluster", "")[1], flags.cluster, flags.copies, sweep.workdir)
    shared = flags.copies > 1
    try:
        with commands.held(os.path.join(sweep.workdir, "lock"), shared) as lock:
            claim(sweep, flags, space, sampler.trials)
            return swept(sweep._replace(lock=lock, shared=shared, deadline=deadline), sampler, flags.jobs)
    except commands.Busy:
        raise UserError(
            f"Expected no other process in {sweep.workdir}; another sweep is running there. Rerun the same command after it; "
            "for another sweep, set another --workdir."
        ) from None


def swept(sweep: Sweep, sampler: samplers.Sampler, jobs: int) -> int:
    """Run the remaining trials, choose the winner unless there is one, and score it; return the exit code.

    If the deadline ends the trials, there is no winner yet.
    """
    report = os.path.join(sweep.workdir, "report.json")
    if not os.path.exists(report) and not trials.run_all(sweep, sampler, jobs):
        print(f"\n{trials.table(sweep, trials.outcomes(sweep))}\n\nNo winner yet: {commands.OVER}.", flush=True)
        return 0
    with commands.held(os.path.join(sweep.workdir, "end.lock"), wait=True):  # the first of several copies chooses and scores
        try:
            return ended(sweep)
        except commands.Late as late:
            print(f"The winner is not scored yet: {late}.", flush=True)
            return 0


def ended(sweep: Sweep) -> int:
    """Choose the winner of the finished trials unless there is one, and score it; return the exit code."""
    report = os.path.join(sweep.workdir, "report.json")
    if not os.path.exists(report):
        print(f"\n{trials.table(sweep, trials.outcomes(sweep))}\n", flush=True)
        best = trials.winner(sweep, trials.outcomes(sweep))
        if best is None:
            print(
                "No trial was finished, so there is no winner, and the test split was not read. The same command tries again.",
                file=sys.stderr,
            )
            return 1
        choose(sweep, best)
    else:
        complete = "test" in files.read_json(report)
        status = "This sweep is finished" if complete else "The winner of this sweep is chosen: only its runs are scored"
        print(f"{trials.table(sweep, trials.outcomes(sweep))}\n\n{status}; nothing is trained.\n", flush=True)
    final = scored(sweep)
    print(summary(sweep, final), flush=True)
    return 1 if final["error"] else 0


def described(flags: Any) -> tuple[Sweep, Space]:
    """Return the sweep and its space, with values of the fields' types; raise UserError for invalid values."""
    if flags.seeds < 1:
        raise UserError(f"Expected at least one run of each trial; got --seeds={flags.seeds}. Set --seeds.")
    config = flags.config
    command = "segment" if is_segmenter(config) else "pretrain"
    path = flags.space.partition(":")[0]
    if path.endswith(".py") and not os.path.isfile(path):
        raise UserError(
            f"Expected a Python file with get_space(); {path!r} does not exist. Set --space to a file, or write {spaces.GRAMMAR}."
        )
    space = cli.call_file(flags.space, path, "get_space")[0] if path.endswith(".py") else spaces.parsed(flags.space)
    if not isinstance(space, Space):
        raise UserError(f"Expected a space of experiments/search/space.py from get_space() of {path}; got {space!r}. Return product(...).")
    space = typed(space, flags)
    known = metrics(command, config)
    if config.best not in known:
        raise UserError(
            f"`{command}` measures {', '.join(known)}; got {config.best!r}{spec.suggestion(config.best, list(known))}, "
            "which is never measured. Set --config.best."
        )
    workdir = flags.workdir or f"runs/sweep-{cli.run_name(flags.config_name)}"
    seeds = tuple(range(config.seed, config.seed + flags.seeds))
    larger = config.best in LARGER_IS_BETTER
    return Sweep(command, flags.config_name, flags.overrides, flags.init, config.best, larger, seeds, workdir), space


def metrics(command: str, config: ConfigDict) -> tuple[str, ...]:
    """Return the metrics of a run of the config on the validation set."""
    if command == "segment":
        return SCORES
    jax.config.update("jax_platforms", "cpu")  # this process must not use a GPU's memory
    method, row = build(config.method), config_example(config)
    means = jax.eval_shape(lambda: method.init_with_output(jax.random.key(0), states.example(row), train=False)[0])
    return ("loss", *means)


def claim(sweep: Sweep, flags: Any, space: Space, drawn: int) -> None:
    """Write sweep.json, or compare an existing one; UserError if they differ.  A sweep may grow until it has a winner."""
    path, report = os.path.join(sweep.workdir, "sweep.json"), os.path.join(sweep.workdir, "report.json")
    of_sampler = {"sampler": flags.sampler, "sampler_seed": flags.sampler_seed, "trials": drawn}
    new = {"config": spec.plain(flags.config), "init": sweep.init, "seeds": flags.seeds, "space": repr(space), **of_sampler}
    if os.path.exists(path):
        old = files.read_json(path)
        if not old["space"].startswith("Space("):  # from an earlier version; each trial's fields are compared when the sampler gives them
            old["space"] = new["space"]
        chosen = os.path.exists(report)
        may_change = tuple(f"sweep.{name}:" for name in (*MAY_CHANGE, *(() if chosen else ("trials",))))
        lines = [line for line in spec.differences(old, new, "sweep") if not line.startswith(may_change)]
        if lines:
            existing = "has a sweep whose winner is chosen" if chosen else "has another sweep"
            raise UserError(
                f"{sweep.workdir} {existing}:\n  " + "\n  ".join(lines) + "\nSet another --workdir, or remove this one to start again."
            )
    write(path, new)


def choose(sweep: Sweep, best: Trial) -> None:
    """Save the winner, its config first: once report.json exists, no trial runs and the winner never changes."""
    config = workdirs.stored_config(best.places[0])
    write(os.path.join(sweep.workdir, "winner.json"), spec.plain(config))
    seconds = sum(trial.seconds for trial in trials.outcomes(sweep))
    apart = spec.differences(*(split_config(spec.plain(config.data), split) for split in ("validation", "test"))) != []
    report = {**best._asdict(), "metric": sweep.metric, "apart": apart, "all_seconds": round(seconds, 1)}
    write(os.path.join(sweep.workdir, "report.json"), report)


def scored(sweep: Sweep) -> dict[str, Any]:
    """Return the report with the test scores of the winner's runs, each measured once, or with an error."""
    path = os.path.join(sweep.workdir, "report.json")
    report = files.read_json(path)
    if "test" in report:
        return report
    try:
        tested = [test_scores(path, sweep.deadline) for path in report["places"]]
    except commands.Late:
        raise
    except UserError as error:
        return {**report, "error": str(error)}
    names = [name for name in metrics(sweep.command, workdirs.stored_config(report["places"][0])) if name in tested[0]]
    report["test"] = {name: [scores[name] for scores in tested] for name in names}
    write(path, report)
    return report


def test_scores(workdir: str, deadline: float) -> dict[str, Any]:
    """Return the scores of a run on the test set; measure them only if they are not in its evaluations."""
    if "test" not in evaluations.read(workdir).last:
        command = [sys.executable, "-m", module("evaluate"), f"--workdir={workdir}", "--split=test"]
        commands.call(command, {"jobs": 1, "deadline": deadline}, f"{workdir}.log")
    return evaluations.read(workdir).last["test"]


def summary(sweep: Sweep, report: Mapping[str, Any]) -> str:
    """Return a sweep's last message: the winner, its scores, the seconds, the next command."""
    path, again = os.path.join(sweep.workdir, "winner.json"), os.path.join(sweep.workdir, "winner")
    fields = " ".join(f"{name}={trials.said(value)}" for name, value in report["fields"].items())
    test = "  ".join(f"{name} {trials.spread(values)}" for name, values in report.get("test", {}).items())
    test += "  (read once, only for the winner)" if report["apart"] else "  (not independent: this config's test set is its validation set)"
    if report["error"]:
        test = f"not scored: {report['error']}; the same command tries again, with the same winner"
    init = [f"--init={sweep.init}"] if sweep.init else []
    seeds = f"the mean over {len(report['values'])} seeds" if len(report["values"]) > 1 else "one seed"
    following = shlex.join([f"--config={path}", *init, f"--workdir={again}"])
    return "\n".join(
        [
            f"winner      trial {report['number']}: {fields}",
            f"validation  {report['metric']} {trials.spread(report['values'])}  ({seeds}; selected the winner)",
            f"test        {test}",
            f"seconds     {report['all_seconds']:.0f} of training, over all finished runs",
            f"trained     {' '.join(report['places'])}",
            f"config      {path}",
            f"next        {process.launcher()}{sweep.command} {following}",
        ]
    )


def write(path: str, content: Mapping[str, Any]) -> None:
    """Write JSON into a file atomically."""
    files.write(path, json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    cli.main(run)
