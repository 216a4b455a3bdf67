"""Train a run in its workdir: resume, start from pretrained weights, or start from scratch."""

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import jax
import numpy as np

from aeseg import tree
from aeseg.data import wrappers
from aeseg.inference import draw
from aeseg.inference.statistics import population_averages
from aeseg.runs import scores, workdir
from aeseg.runs.programs import Alone, Programs
from aeseg.runs.run import LARGER_IS_BETTER, Run
from aeseg.training import checkpoints as saved
from aeseg.training import lock, loop, memory
from aeseg.training import mesh as meshes
from aeseg.training.log import Log
from aeseg.training.state import TrainState
from aeseg.types import UserError

PICTURES = 6
"""Rows of the pictures that a run writes."""

AVERAGED = 1_000
"""Fewest images for the averages of a frozen encoder (Wu & Johnson 2021, section 3.2: a sample of the set is enough)."""

Init = Callable[[TrainState], tuple[TrainState, list[str]]]
"""Loads pretrained weights into an initial state; returns the state and messages."""


class Outcome(NamedTuple):
    """The end of a run: its step, the validation scores, whether all steps are done, seconds, the last picture.

    `signal` is the signal that stopped it, or 0.
    """

    step: int
    numbers: dict[str, float]
    finished: bool
    seconds: float
    picture: str
    signal: int = 0


def train(
    run: Run,
    path: str,
    init: Init | None = None,
    programs: Programs | None = None,
    evaluate: scores.Evaluate | None = None,
    minutes: float = 0.0,
) -> Outcome:
    """Train a run in the workdir `path`; continue it, or return at once if it is finished.

    If the workdir has a checkpoint of this run, training continues.  Otherwise `init` loads pretrained weights, or training starts from
    scratch.  `programs` holds compiled programs of earlier runs; `evaluate` replaces the run's validation.  After `minutes` > 0, training
    saves and stops; the same call continues.
    Raises UserError if the workdir holds another run, or another process trains there.
    """
    if minutes < 0:
        raise UserError(f"Expected minutes >= 0, where 0 has no limit; got {minutes}. Set --minutes.")
    deadline = time.monotonic() + 60 * minutes if minutes else math.inf
    with lock.held(path):
        return _trained(run, path, init, programs or Alone(), evaluate, deadline)


def _trained(
    run: Run, path: str, init: Init | None, programs: Programs | Alone, evaluate: scores.Evaluate | None, deadline: float
) -> Outcome:
    began, writes = time.perf_counter(), jax.process_index() == 0
    programs.check(run)
    workdir.check_workdir(path, run.config, writes)
    smaller = run.metric not in LARGER_IS_BETTER
    kept = saved.Checkpoints(os.path.join(path, "checkpoints"), run.keep, run.metric, run.keep_every, smaller)
    pictures, evaluate = Pictures(run, path, programs.shower(run)), evaluate or _with_metric(programs.validation(run), run)
    state = programs.initial(run)
    log = Log(path, run.steps, max([s for s in kept.steps() if s <= run.steps], default=0), writes)
    try:
        resumed = kept.restore(state, log.say)
        if resumed is not None:
            state = resumed
            log.say(f"Continuing from step {int(state.step)} of {path}.")
        else:
            state, lines = init(state) if init is not None else (state, [])
            state, more = frozen_averages(run, state)
            for line in (*lines, *more):
                log.say(line)
        log.say(describe(run, state))
        if int(state.step) >= run.steps:
            log.say("This run is finished; nothing is trained.")
            numbers, finished, signal = evaluate(state), True, 0
        else:
            step = programs.step(run)
            outcome = loop.train(run, state, kept, log, evaluate, pictures.write, run.policy, step, deadline)  # type: ignore[arg-type]
            state, numbers, finished, signal = outcome.state, outcome.numbers, outcome.finished, outcome.signal
    finally:
        kept.close()
        log.close()
    return Outcome(int(state.step), numbers, finished, time.perf_counter() - began, pictures.last, signal)


def _with_metric(evaluate: scores.Evaluate, run: Run) -> scores.Evaluate:
    """Return `evaluate`, with UserError if the run's metric is not among its numbers: no checkpoint would be the best."""

    def checked(state: TrainState) -> dict[str, float]:
        numbers = evaluate(state)
        if run.metric not in numbers:
            raise UserError(f"best must be one of {', '.join(numbers)}; got {run.metric!r}. Set --config.best.")
        return numbers

    return checked


def frozen_averages(run: Run, state: TrainState, batches: Iterable[Mapping[str, np.ndarray]] = ()) -> tuple[TrainState, list[str]]:
    """Return the state with a frozen encoder's batch norm averages over training images, and a message.

    The images are those of `batches`, which one process reads (without padding), or AVERAGED images of the head's training.
    Other states, and states of runs with `statistics` "pretrained", are returned unchanged.
    """
    statistics = state.collections.get("batch_stats", {}).get("encoder", {})
    if not (statistics and getattr(run.method, "frozen_encoder", False) and run.statistics == "re-estimated"):
        return state, []
    steps = range(-(-AVERAGED // run.batch_size))
    trained_on = (meshes.place(run.mesh, {"image": run.loader[step]["image"]})["image"] for step in steps)
    loaded = (batch["image"][batch["valid"]] for batch in batches) if batches else trained_on
    variables = {name: leaves["encoder"] for name, leaves in state.variables.items() if "encoder" in leaves}
    averages = population_averages(run.method.encoder, variables, loaded)  # type: ignore[attr-defined]
    placed = jax.tree.map(lambda leaf, old: jax.device_put(leaf, old.sharding), averages, statistics)
    collections = {**state.collections, "batch_stats": {**state.collections["batch_stats"], "encoder": placed}}
    ema = {**state.ema, **({"batch_stats": jax.tree.map(lambda leaf: leaf.copy(), collections["batch_stats"])} if state.ema else {})}
    return state.replace(collections=collections, ema=ema), ["Took the frozen encoder's batch norm averages of training images."]


class Pictures:
    """Writes `pictures/step_<n>.png`, always of the same few validation images."""

    def __init__(self, run: Run, path: str, show: scores.Forward):
        self._run, self._folder, self.last = run, os.path.join(path, "pictures"), ""
        self._show = show

    def write(self, state: TrainState) -> None:
        """Draw the method's columns for the first validation images."""
        run = self._run
        batch = next(iter(scores.windows(run, run.validation, run.batch_size)))
        shown = self._show(scores.host_copy(state.variables), batch)
        rows = min(PICTURES, len(run.validation))
        columns = {name: np.asarray(jax.device_get(array))[:rows] for name, array in shown.items()}
        if jax.process_index() == 0:
            self.last = os.path.join(self._folder, f"step_{int(state.step):06d}.png")
            names = [str(run.validation[row].get("name", row)) for row in range(rows)]
            draw.panel(columns, self.last, run.classes, names)


def describe(run: Run, state: TrainState) -> str:
    """Return one line about the method, the data and the devices."""
    device = run.mesh.devices.flat[0]
    return (
        f"{type(run.method).__name__}: {tree.count(state.params):,} parameters; {len(run.training):,} training and "
        f"{len(run.validation):,} validation images; batch {run.batch_size}; {run.mesh.size} x {device.device_kind}."
        + (f" {run.training.text}" if isinstance(run.training, wrappers.Cached) else "")
    )


def report(run: Run, path: str, outcome: Outcome, next_command: str = "") -> str:
    """Return a run's last message: scores, seconds, path of the pictures, next command."""
    lines = [
        f"Skipped {len(skipped)} unreadable {split} records: {' '.join(sorted(skipped)[:3])}{' ...' if len(skipped) > 3 else ''}"
        for split, source in (("training", run.training), ("validation", run.validation))
        if (skipped := getattr(source, "skipped", ()))
    ]
    peak = memory.peak() / 2**30
    ended = "Finished" if outcome.finished else "Stopped"
    lines += [
        f"\n{ended} at step {outcome.step} of {run.steps} after {outcome.seconds:.0f} s, {peak:.1f} GB of memory at most.",
        "validation  " + _spelled(outcome.numbers),
        f"pictures    {outcome.picture or os.path.join(path, 'pictures')}",
        f"next        {next_command if outcome.finished else 'the same command continues'}",
    ]
    return "\n".join(lines)


def _spelled(numbers: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in numbers.items())
