"""Handling of steps whose loss or gradient is not finite, and of spikes of the loss."""

import dataclasses
import statistics
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aeseg.metrics import Mean
from aeseg.training.state import TrainState
from aeseg.training.step import Terms
from aeseg.types import Batch, UserError

POLICIES = ("stop", "skip")

SKIPPED = "skipped"
"""Name of the Mean that a skipping step adds: the fraction of skipped steps."""


@dataclasses.dataclass(frozen=True)
class Policy:
    """Policy for a step whose loss or gradient is not finite.

    do        stop: end the run; skip: change only the number of the step
    in_a_row  number of skipped steps in a row that also end the run
    names     the records of a step's batch, for the message
    """

    do: str = "stop"
    in_a_row: int = 10
    names: Callable[[int], Sequence[str]] = lambda step: ()

    def __post_init__(self) -> None:
        if self.do not in POLICIES:
            raise UserError(f"nonfinite is one of {', '.join(POLICIES)}; got {self.do!r}. Set --config.nonfinite.")
        if self.in_a_row < 1:
            raise UserError(f"nonfinite_in_a_row must be at least 1; got {self.in_a_row}. Set --config.nonfinite_in_a_row.")

    @property
    def skips(self) -> bool:
        """Return whether steps are skipped."""
        return self.do == "skip"


def skipping(step: Callable[[TrainState, Batch], tuple[TrainState, Terms]]) -> Callable[[TrainState, Batch], tuple[TrainState, Terms]]:
    """Return a train step that changes only the number of the step if the loss or gradient is not finite.

    Parameters, optimiser state, batch statistics and running mean stay; the Means of the step have weight 0, except `skipped`.
    """

    def guarded(state: TrainState, batch: Batch) -> tuple[TrainState, Terms]:
        new, terms = jax.lax.optimization_barrier(step(state, batch))  # compiled as without skipping: equal bit for bit
        finite = jnp.isfinite(terms["loss"].total) & jnp.isfinite(terms["gradient_norm"].total)
        kept = jax.tree.map(lambda before, after: jnp.where(finite, after, before), state, new)
        counted = jax.tree.map(lambda number: jnp.where(finite, number, jnp.zeros_like(number)), dict(terms))
        counted[SKIPPED] = Mean(jnp.where(finite, 0.0, 1.0), jnp.float32(1))
        return kept.replace(step=new.step), counted

    return jax.jit(guarded, donate_argnums=0)


def norms(params: Any) -> str:
    """Format the Euclidean norm of each part's parameters: `encoder 12.3, decoder nan`."""
    lengths = jax.device_get(jax.jit(lambda parts: {name: optax.tree.norm(part) for name, part in parts.items()})(dict(params)))
    return ", ".join(f"{name} {float(norm):.4g}" for name, norm in lengths.items())


def names_of(names: Iterable[str], most: int = 16) -> str:
    """Format the names of a batch's records for a message; "" if unknown."""
    listed = [ascii(name)[1:-1] for name in names]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return f" The records of its batch: {', '.join(listed[:most])}{more}." if listed else ""


class Spikes:
    """Detector of loss spikes: above `factor` times the median of the last `window` losses, of which `least` are required."""

    def __init__(self, factor: float = 4.0, window: int = 200, least: int = 20):
        self._factor, self._least = factor, least
        self._last: deque[float] = deque(maxlen=window)

    def messages(self, steps: Iterable[tuple[int, float]]) -> list[str]:
        """Return one line for each (step, loss) that is a spike."""
        lines = []
        for step, loss in steps:
            usual = statistics.median(self._last) if len(self._last) >= self._least else np.inf
            if loss > self._factor * abs(usual):
                lines.append(f"Step {step}: the loss is {loss:.4g}; the median of the {len(self._last)} steps before is {usual:.4g}.")
            if np.isfinite(loss):
                self._last.append(loss)
        return lines
