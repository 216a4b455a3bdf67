"""The one loop: every autoencoder and the segmenter are trained by it."""

import dataclasses
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, Protocol

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh

from aeseg.training import mesh as meshes
from aeseg.training import state as states
from aeseg.training import step as steps
from aeseg.training.checkpoints import Checkpoints
from aeseg.training.log import Log
from aeseg.training.state import TrainState
from aeseg.training.step import Terms
from aeseg.types import UserError

Evaluate = Callable[[TrainState], dict[str, float]]
Picture = Callable[[TrainState], None]


class Trainable(Protocol):
    """What the loop reads of a run (aeseg/runs/run.py).

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
    """Where a run stopped: the state, the last numbers of the validation set, and whether all steps were done."""

    state: TrainState
    numbers: dict[str, float]
    finished: bool


def train(run: Trainable, state: TrainState, checkpoints: Checkpoints, log: Log, evaluate: Evaluate, picture: Picture) -> Outcome:
    """Train from `state` to `run.steps`, saving every `save_every` steps, at the end, and when asked to stop (SIGTERM).

    `evaluate` returns the numbers of the validation set and is called every `evaluate_every` steps and at the end, as is `picture`,
    which leaves a picture behind.
    The numbers of a step are read one logging interval late, so that the host never waits for the device.  A loss that
    is not finite stops the run with its step; the checkpoints from before it stay.
    """
    step_function = steps.train_step(run.method, run.optimiser, run.mesh, run.microbatches, run.seed, run.ema)
    at, numbers, unread = int(state.step), {}, []
    batches = run.batches(at)
    with _Asked() as asked:
        while at < run.steps:
            state, terms = step_function(state, meshes.place(run.mesh, next(batches)))
            at += 1
            unread.append((at, terms))
            last, stop = at == run.steps, asked.to_stop(checkpoints, at)
            measure = last or at % run.evaluate_every == 0
            save = last or stop or at % run.save_every == 0
            if at % run.log_every == 0 or measure or save:
                # Before anything is saved every step is read; otherwise all but the newest, which still computes.
                keep = [] if (measure or save) else unread[-1:]
                _report(run, unread[: len(unread) - len(keep)], log)
                unread = keep
            if measure:
                numbers = evaluate(state)
                log.write(at, numbers, "validation/")
                log.say(f"step {at}/{run.steps}  validation  " + "  ".join(f"{k} {v:.4g}" for k, v in numbers.items()))
            if save:
                checkpoints.save(state, numbers if measure else {})
            if measure:
                picture(state)
            if stop and not last:
                break
    checkpoints.wait()
    return Outcome(state, numbers, at >= run.steps)


def initial_state(run: Trainable, batch: Mapping[str, np.ndarray]) -> TrainState:
    """A fresh state for the run, spread over its mesh; `batch` gives shapes only."""
    return states.create(run.method, run.optimiser, batch, run.seed, run.ema > 0, run.mesh)


def _report(run: Trainable, rows: list[tuple[int, Terms]], log: Log) -> None:
    """Read steps from the device, stop at the first that is not finite, and log the mean over all of them."""
    if not rows:
        return
    values = jax.device_get([terms for _, terms in rows])
    for (at, _), terms in zip(rows, values, strict=True):
        bad = [name for name, mean in terms.items() if not np.isfinite(mean.total)]
        if bad:
            raise UserError(
                f"Step {at}: {', '.join(bad)} is not finite. The checkpoints from before it are kept; lower "
                "--config.optimiser.learning_rate, or set --config.optimiser.clip=1.0, and run in another --workdir."
            )
    total = values[0]
    for terms in values[1:]:
        total = steps.add(total, terms)
    numbers = {name: float(mean.total) / float(mean.weight) if mean.weight else 0.0 for name, mean in total.items()}
    at = rows[-1][0]
    log.write(at, {**numbers, "learning_rate": float(run.optimiser.learning_rate(at - 1))}, "train/")
    log.progress(at, {name: value for name, value in numbers.items() if name != "gradient_norm"})


class _Asked:
    """Listens for SIGTERM (a cluster's notice before it takes the machine) while the loop runs."""

    def __enter__(self) -> "_Asked":
        self._stop = False
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._before = signal.signal(signal.SIGTERM, self._hear)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._main:
            signal.signal(signal.SIGTERM, self._before)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._stop = True

    def to_stop(self, checkpoints: Checkpoints, step: int) -> bool:
        """Several processes agree on the step through jax.distributed; a single one needs only its signal."""
        return checkpoints.reached_preemption(step) if jax.process_count() > 1 else self._stop
