"""Two lanes: programs that XLA barely optimises, for nearly all tests, and programs as users compile them.

XLA optimises a tiny network for longer than the network computes.  The optimised lane keeps what is claimed of users'
programs: golden losses, equality to the bit, and the fast forms of layers.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

import jax
from jax._src import compiler  # a process reads XLA_FLAGS once, and jax has no public way to other flags for all programs of a time

_optimises = jax.make_user_context(False)
"""Part of the key of jax's caches, so that neither lane runs a program of the other."""

_NO_EMITTERS = "--xla_cpu_use_fusion_emitters=false"
_plain_options = compiler.get_compile_options


def _options_with_emitters(*arguments: Any, env_options_overrides: Any = None, **named: Any) -> Any:
    overrides = {"xla_cpu_use_fusion_emitters": True, **(env_options_overrides or {})}
    return _plain_options(*arguments, env_options_overrides=overrides, **named)


_options = _options_with_emitters if _NO_EMITTERS in os.environ["XLA_FLAGS"] else _plain_options


@contextlib.contextmanager
def optimised() -> Iterator[None]:
    """Compile with all optimisations, here and in processes that start meanwhile, as the mark `optimised` does for a whole test."""
    plain, flags = os.environ.pop("JAX_DISABLE_MOST_OPTIMIZATIONS", ""), os.environ["XLA_FLAGS"]
    os.environ["XLA_FLAGS"] = flags.replace(_NO_EMITTERS, "")
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        with _optimises(True), mock.patch.object(compiler, "get_compile_options", _options):
            yield
    finally:
        os.environ["XLA_FLAGS"] = flags
        if plain:  # else the lane was entered before
            jax.config.update("jax_disable_most_optimizations", True)
            os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = plain
