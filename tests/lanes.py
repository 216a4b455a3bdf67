"""Two lanes: programs that XLA barely optimises, for nearly all tests, and programs as users compile them.

XLA optimises a tiny network for longer than the network computes.  The optimised lane keeps what is claimed of users'
programs: golden losses, equality to the bit, and the fast forms of layers.
"""

import contextlib
import os
from collections.abc import Iterator

import jax

_optimises = jax.make_user_context(False)
"""Part of the key of jax's caches, so that neither lane runs a program of the other."""


@contextlib.contextmanager
def optimised() -> Iterator[None]:
    """Compile with all optimisations, here and in processes that start meanwhile, as the mark `optimised` does for a whole test."""
    plain = os.environ.pop("JAX_DISABLE_MOST_OPTIMIZATIONS", "")
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        with _optimises(True):
            yield
    finally:
        if plain:  # else the lane was entered before
            jax.config.update("jax_disable_most_optimizations", True)
            os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = plain
