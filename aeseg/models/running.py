"""State that is updated once per step, for any number of microbatches.

A train step passes its collections from one microbatch to the next, without the microbatch's number.  But each row has its index in the
global batch, and the row with index 0 is always in the first microbatch.  So a collection has two parts: the state at the start of the
step, which every microbatch reads, and the contributions of this step's rows, which the next step applies.  All microbatches of a step
use the same state, and up to rounding it does not depend on the number of microbatches and devices.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

State = TypeVar("State")


def starts_step(index: Int[Array, "b"]) -> Bool[Array, ""]:
    """Return whether these rows include the first row of the global batch."""
    return jnp.any(index == 0)


def opened(index: Int[Array, "b"], state: State, settle: Callable[[State], State]) -> State:
    """Return the state for a microbatch: the first microbatch of a step settles it; later microbatches get the settled state."""
    return jax.tree.map(lambda new, old: jnp.where(starts_step(index), new, old), settle(state), state)


def completed_steps(index: Int[Array, "b"], count: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return (number of steps before this step, count to keep); the first microbatch of each step raises the count by 1."""
    first = starts_step(index)
    return jnp.where(first, count, jnp.maximum(count - 1, 0)), count + first.astype(jnp.float32)


def decayed(settled: Float[Array, "*n"], pending: Float[Array, "*n"], decay: float) -> Float[Array, "*n"]:
    """Return decay * settled + (1 - decay) * pending.  The ratio of two such sums is a running mean, from the first step on."""
    return decay * settled + (1 - decay) * pending
