"""Two lanes: for most tests XLA barely optimises; tests in the optimised lane compile programs as users do.

XLA takes longer to optimise a tiny network than the network takes to compute.  The optimised lane is for claims about users' programs:
golden losses, bit equality, and the fast forms of layers.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

import jax
from jax._src import compiler  # a process reads XLA_FLAGS once, and jax has no public way to change flags for a time

_optimises = jax.make_user_context(False)
"""Part of the key of jax's caches, so that the lanes do not share programs."""

_NO_EMITTERS = "--xla_cpu_use_fusion_emitters=false"
_plain_options = compiler.get_compile_options


def _options_with_emitters(*arguments: Any, env_options_overrides: Any = None, **named: Any) -> Any:
    overrides = {"xla_cpu_use_fusion_emitters": True, **(env_options_overrides or {})}
    return _plain_options(*arguments, env_options_overrides=overrides, **named)


_options = _options_with_emitters if _NO_EMITTERS in os.environ["XLA_FLAGS"] else _plain_options


@contextlib.contextmanager
def optimised() -> Iterator[None]:
    """Compile with all optimisations inside the block, also in processes started there; the mark `optimised` does so for a test."""
    plain, flags = os.environ.pop("JAX_DISABLE_MOST_OPTIMIZATIONS", ""), os.environ["XLA_FLAGS"]
    os.environ["XLA_FLAGS"] = flags.replace(_NO_EMITTERS, "")
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        with _optimises(True), mock.patch.object(compiler, "get_compile_options", _options):
            yield
    finally:
        os.environ["XLA_FLAGS"] = flags
        if plain:  # otherwise the lane was already entered
            jax.config.update("jax_disable_most_optimizations", True)
            os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = plain
