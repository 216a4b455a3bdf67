"""The training loop of all autoencoders and of the segmenter."""

import contextlib
import dataclasses
import math
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh

from aeseg.training import cluster, memory, nonfinite, signals
from aeseg.training import mesh as meshes
from aeseg.training import step as steps
from aeseg.training.agreement import Agreement
from aeseg.training.checkpoints import Checkpoints
from aeseg.training.log import Log
from aeseg.training.state import TrainState
from aeseg.training.step import Terms
from aeseg.types import UserError

LONGEST = 60.0
"""Seconds that a step, an evaluation or loading may take after a signal before the process ends without saving."""


Evaluate = Callable[[TrainState], dict[str, float]]
Picture = Callable[[TrainState], None]


@runtime_checkable
class Trainable(Protocol):
    """The attributes of a run that the loop uses (aeseg/runs/run.py).

    `batches(start)` yields this process's rows of the batches start, start + 1, ...
    """

    method: nn.Module
    optimiser: Any
    mesh: Mesh
    steps: int
    microbatches: int
    seed: int
    ema: float
    log_every: int
    evaluate_every: int
    save_every: int

    def batches(self, start: int) -> Iterator[Mapping[str, np.ndarray]]: ...


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The end of a run: the state, the last validation metrics, whether all steps were done, and the signal or 0."""

    state: TrainState
    numbers: dict[str, float]
    finished: bool
    signal: int = 0


OVER = int(signal.SIGALRM)
"""Signal number that stands for the deadline where processes agree on a signal."""


def train(
    run: Trainable,
    state: TrainState,
    checkpoints: Checkpoints,
    log: Log,
    evaluate: Evaluate,
    picture: Picture,
    policy: nonfinite.Policy = nonfinite.Policy(),  # noqa: B008 (frozen)
    step_function: Callable[[TrainState, Any], tuple[TrainState, Terms]] | None = None,
    deadline: float = math.inf,
) -> Outcome:
    """Train from `state` to `run.steps`.  Save every `save_every` steps, at the end, and on a signal (SIGTERM, Ctrl-C).

    The run also saves and stops after the first step that ends after the `deadline` (of `time.monotonic`).

    `evaluate` returns the validation metrics and `picture` writes a picture, every `evaluate_every` steps and at the end.  `policy`
    decides about steps that are not finite.  `step_function` is the run's `step.train_step`, if already compiled.
    A step's numbers are read one logging interval late, so that the host never waits for the device.  Several processes stop at the
    same step, whichever received the signal.  A single process also stops during an evaluation or a wait for data.
    """
    step_function = step_function or steps.train_step(run.method, run.optimiser, run.mesh, run.microbatches, run.seed, run.ema)
    if policy.skips:
        step_function = nonfinite.skipping(step_function)
    alone, agreement, report = jax.process_count() == 1, Agreement(run.mesh), _Report(run, log, policy)
    first = at = int(state.step)
    numbers: dict[str, float] = {}
    unread: list[tuple[int, Terms]] = []
    stop, done = 0, False
    slow = LONGEST if alone else math.inf
    log.rewind(at)
    batches = run.batches(at)
    with signals.listening(), signals.reacting(raises=False, limit=slow), cluster.losses_explained():
        try:
            if alone and _is_due(run, at) and not log.has(at, "validation/"):  # the run was stopped during this evaluation
                with signals.reacting(raises=True):
                    numbers = _evaluated(run, state, log, evaluate)
            while at < run.steps and not stop:
                with signals.reacting(raises=alone, limit=slow):
                    batch = _next(batches)
                with signals.reacting(raises=False, limit=signals.PATIENCE if at == first else slow):  # the first step compiles
                    state, terms = step_function(state, meshes.place(run.mesh, batch))
                if at == first:
                    memory.keep_freed()
                at += 1
                unread.append((at, terms))
                over = OVER if time.monotonic() > deadline else 0
                stop, measure = agreement.agreed(signals.heard() or over), _is_due(run, at)
                save = stop or at == run.steps or at % run.save_every == 0
                if at % run.log_every == 0 or measure or save:
                    # Read every step before saving; otherwise all except the newest, which is still running.
                    keep = [] if (measure or save) else unread[-1:]
                    report(unread[: len(unread) - len(keep)], state)
                    unread = keep
                    memory.trim()
                with memory.returned() if measure or save else contextlib.nullcontext():
                    if measure:
                        with signals.reacting(raises=alone, limit=slow):
                            numbers = _evaluated(run, state, log, evaluate)
                    if save:
                        _save(state, numbers if measure else {}, checkpoints)
                    if measure:
                        with signals.reacting(raises=alone, limit=slow):
                            picture(state)
            done = at >= run.steps
        except signals.Stopped:
            stop = signals.heard()
            report(unread, state)
            if at > 0:
                _save(state, {}, checkpoints)
        with signals.unhurried():
            checkpoints.wait()
    return Outcome(state, numbers, done, 0 if stop == OVER else stop)


def _save(state: TrainState, numbers: dict[str, float], checkpoints: Checkpoints) -> None:
    """Save without a time limit, and without an exception for a signal.

    An exception inside Orbax's save can leave a thread that waits for a sign of the main thread, up to 20 minutes; the end of the process
    waits for that thread.
    """
    with signals.unhurried():
        checkpoints.save(state, numbers)


def _is_due(run: Trainable, at: int) -> bool:
    """Return whether to evaluate the validation set after this step."""
    return at > 0 and (at == run.steps or at % run.evaluate_every == 0)


def _evaluated(run: Trainable, state: TrainState, log: Log, evaluate: Evaluate) -> dict[str, float]:
    at, numbers = int(state.step), evaluate(state)
    if numbers:
        log.write(at, numbers, "validation/")
    log.say(f"step {at}/{run.steps}  validation  " + "  ".join(f"{k} {v:.4g}" for k, v in numbers.items()))
    return numbers


def _next(batches: Iterator[Mapping[str, np.ndarray]]) -> Mapping[str, np.ndarray]:
    """Return the next batch; UserError if a worker process that loads it was killed."""
    try:
        return next(batches)
    except RuntimeError as error:
        if not (killed := re.search(r"[Ww]orker process.* terminated unexpectedly with exit code (-?\d+)", str(error))):
            raise
        why = "it was killed, as systems do when memory runs out" if killed[1] == "-9" else "its own error is above"
        raise UserError(
            f"A process that loads data ended with exit code {killed[1]} ({why}). The same command continues from the last checkpoint; "
            "lower --config.data.workers or --config.data.cache_gib."
        ) from error


class _Report:
    """Read steps from the device and log their mean.

    Raises UserError at a step that is not finite, or after the allowed number of skipped steps in a row.  Reports spikes of the loss.
    """

    def __init__(self, run: Trainable, log: Log, policy: nonfinite.Policy):
        self._run, self._log, self._policy = run, log, policy
        self._spikes, self._in_a_row = nonfinite.Spikes(), 0

    def __call__(self, rows: list[tuple[int, Terms]], state: TrainState) -> None:
        if not rows:
            return
        values = jax.device_get([terms for _, terms in rows])
        for (at, _), terms in zip(rows, values, strict=True):
            bad = [name for name, mean in terms.items() if not np.isfinite(mean.total)]
            skipped = nonfinite.SKIPPED in terms and terms[nonfinite.SKIPPED].total > 0
            self._in_a_row = self._in_a_row + 1 if skipped else 0
            if skipped:
                self._log.say(
                    f"Step {at}: not finite, skipped ({self._in_a_row} in a row).{nonfinite.names_of(self._policy.names(at - 1))}"
                )
            if bad or self._in_a_row >= self._policy.in_a_row:
                raise UserError(self._message(at, bad, state))
        total = values[0]
        for terms in values[1:]:
            total = steps.add(total, terms)
        numbers = {name: float(mean.total) / float(mean.weight) if mean.weight else 0.0 for name, mean in total.items()}
        at = rows[-1][0]
        losses = [(at, float(terms["loss"].total)) for (at, _), terms in zip(rows, values, strict=True) if terms["loss"].weight]
        for line in self._spikes.messages(losses):
            self._log.say(line)
        self._log.write(at, {**numbers, "learning_rate": float(self._run.optimiser.learning_rate(at - 1))}, "train/")
        self._log.progress(at, {name: value for name, value in numbers.items() if name != "gradient_norm"})

    def _message(self, at: int, bad: list[str], state: TrainState) -> str:
        last = at - max(1, self._in_a_row)
        reason = f"{', '.join(bad)} is not finite" if bad else f"not finite, number {self._in_a_row} in a row"
        return (
            f"Step {at}: {reason}. The checkpoints from before it are kept; step {last} was the last good one."
            f"{nonfinite.names_of(self._policy.names(at - 1))} Norms of the parameters by step {int(state.step)}: "
            f"{nonfinite.norms(state.params)}. Lower --config.optimiser.learning_rate, or set --config.optimiser.clip=1.0, "
            "and run in another --workdir; --config.nonfinite=skip skips such steps."
        )
