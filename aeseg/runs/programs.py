"""Compiled programs that runs with one architecture share; seed, steps and learning rate are arguments."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aeseg import spec
from aeseg.runs import scores
from aeseg.runs.run import Run
from aeseg.training import state as states
from aeseg.training import step as steps
from aeseg.training.optimiser import Optimiser
from aeseg.training.state import TrainState

CONSTANT = {"learning_rate": 1.0, "warmup": 0, "schedule": "constant"}
"""Arguments of an optimiser with learning rate 1, whose updates are then multiplied by the step's learning rate."""


class Alone:
    """The programs that `train` compiles for a single run."""

    check = staticmethod(Run.check)
    validation = staticmethod(scores.validation)

    def initial(self, run: Run) -> TrainState:
        """Return an initial state of the run."""
        return states.jitted(run.start, run.mesh)()

    def step(self, run: Run) -> Any:
        """Return the train step of the run."""
        return steps.train_step(run.method, run.optimiser, run.mesh, run.microbatches, run.seed, run.ema)

    def shower(self, run: Run) -> scores.Forward:
        """Return `scores.shower` of the run's method."""
        return scores.shower(run.method)


class Programs:
    """The programs that `train` compiles, by architecture, for several runs in one process.

    Runs that differ only in data, seed, steps or the learning rate schedule share programs.  Each run computes the same numbers as on
    its own, to float32 rounding.  `seen` is called before each train step.
    """

    def __init__(self, seen: Callable[[], None] = lambda: None):
        self.seen = seen
        self._compiled: dict[tuple[str, ...], Any] = {}

    def check(self, run: Run) -> None:
        """Check a run if its architecture is new (see `Run.check`)."""
        self._of(run, "check", run.check)

    def initial(self, run: Run) -> TrainState:
        """Return an initial state of the run, like `Run.start`."""
        seed = np.uint32(run.seed)

        def compiled() -> Any:
            row, optimiser = run.first_row, without_rate(run.optimiser)
            return states.jitted(lambda seed: states.initial(run.method, optimiser, row, seed, run.ema > 0), run.mesh, seed)

        return self._of(run, "initial", compiled)(seed)

    def step(self, run: Run) -> Callable[[TrainState, Any], tuple[TrainState, steps.Terms]]:
        """Return the train step of a run, like `step.train_step`."""

        def compiled() -> Any:
            optimiser, step = without_rate(run.optimiser), steps.update(run.method, run.mesh, run.microbatches, run.ema)

            def one(state: TrainState, batch: Any, seed: Any, rate: Any) -> tuple[TrainState, steps.Terms]:
                return step(state, batch, with_rate(optimiser, rate), jax.random.key(seed))

            return jax.jit(one, donate_argnums=0)

        jitted = self._of(run, "step", compiled)
        return _Step(jitted, np.uint32(run.seed), rates(run.optimiser, run.steps), lambda: self.seen())

    def validation(self, run: Run) -> scores.Evaluate:
        """Return `scores.validation` of a run."""
        return scores.validation(run, self.forward(run))

    def forward(self, run: Run) -> scores.Forward:
        """Return `scores.forward` of a run's method."""
        return self._of(run, "forward", lambda: scores.forward(run))

    def shower(self, run: Run) -> scores.Forward:
        """Return `scores.shower` of a run's method."""
        return self._of(run, "show", lambda: scores.shower(run.method))

    def _of(self, run: Run, kind: str, make: Callable[[], Any]) -> Any:
        """Return the result of `make` for the first run with this architecture."""
        described = spec.to_json(spec.describe(run.method)), json.dumps(spec.plain(without_rate(run.optimiser).call), sort_keys=True)
        shape = str((run.microbatches, run.ema, run.fsdp, run.batch_size, tuple(run.window), run.segments))
        key = (kind, *described, shape)
        if key not in self._compiled:
            self._compiled[key] = make()
        return self._compiled[key]


@dataclasses.dataclass
class _Step:
    """Train step of one run; counts its steps on the host, to avoid waiting for the device."""

    jitted: Callable[..., Any]
    seed: Any
    rates: Any
    seen: Callable[[], None]
    at: int = -1

    def __call__(self, state: TrainState, batch: Any) -> tuple[TrainState, steps.Terms]:
        self.at = int(state.step) if self.at < 0 else self.at
        self.seen()
        result = self.jitted(state, batch, self.seed, self.rates[self.at])
        self.at += 1
        return result


def rates(optimiser: Any, steps: int) -> np.ndarray:
    """Return the learning rate of each step, float32 [steps]."""
    return np.broadcast_to(np.asarray(optimiser.learning_rate(jnp.arange(steps)), np.float32), (steps,))


def with_rate(optimiser: Any, rate: Any) -> Any:
    """Return the optimiser with its updates multiplied by `rate`, which may be traced."""

    def update(gradient: Any, state: Any, params: Any) -> tuple[Any, Any]:
        updates, state = optimiser.update(gradient, state, params)
        return jax.tree.map(lambda leaf: rate * leaf, updates), state

    return optimiser._replace(update=update)


def without_rate(optimiser: Any) -> Optimiser:
    """Return the optimiser with a constant learning rate of 1: all optimisers of aeseg multiply by the learning rate last."""
    call = dict(spec.plain(optimiser.call))
    steps_matter = call.get("weight_decay_growth", 1.0) != 1.0
    fields = {**CONSTANT, **({} if steps_matter else {"steps": 1})}
    return spec.build({**call, **{name: value for name, value in fields.items() if name in call}})
