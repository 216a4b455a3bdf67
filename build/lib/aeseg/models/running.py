"""State that moves once a step, however many microbatches the step is cut into.

A train step hands its collections from one microbatch to the next and does not tell its number.  But rows know their index in the
global batch, and the row of index 0 is always in the first microbatch.  So a collection keeps two parts: what held when the step
started, which every microbatch reads, and what this step's rows have added so far, which the next step settles.  All microbatches of
a step thus use the same numbers, and those do not depend, to rounding, on the number of microbatches and devices.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

State = TypeVar("State")


def starts_step(index: Int[Array, "b"]) -> Bool[Array, ""]:
    """Return whether these rows hold the first one of the global batch."""
    return jnp.any(index == 0)


def opened(index: Int[Array, "b"], state: State, settle: Callable[[State], State]) -> State:
    """Return the state that a microbatch works with: settled if it is the first of its step; else it is settled already."""
    return jax.tree.map(lambda new, old: jnp.where(starts_step(index), new, old), settle(state), state)


def completed_steps(index: Int[Array, "b"], count: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """(the steps before this one, the count to keep), from a count that the first microbatch of each step raises by 1."""
    first = starts_step(index)
    return jnp.where(first, count, jnp.maximum(count - 1, 0)), count + first.astype(jnp.float32)


def decayed(settled: Float[Array, "*n"], pending: Float[Array, "*n"], decay: float) -> Float[Array, "*n"]:
    """Return decay * settled + (1 - decay) * pending.  The ratio of two such sums is a running mean, from the first step on."""
    return decay * settled + (1 - decay) * pending
