"""Lanes: for most tests XLA barely optimises and there is one device; some compile programs as users do, some have eight devices.

XLA takes longer to optimise a tiny network than the network takes to compute.  The optimised lane is for claims about users' programs:
golden losses, bit equality, and the fast forms of layers.  Eight devices on one core wait for each other, and sharded programs take
longer to compile.  The spread lane is for claims about several devices.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import jax
from jax._src import compiler  # a process reads XLA_FLAGS once, and jax has no public way to change flags for a time
from jax._src.interpreters import mlir
from jax._src.random import threefry2x32

_optimises = jax.make_user_context(False)
"""Part of the key of jax's caches, so that the lanes do not share programs."""

_NO_EMITTERS = "--xla_cpu_use_fusion_emitters=false"
_given = compiler.get_compile_options


def _options(**lane: Any) -> Callable[..., Any]:
    """Compile with the options of a lane, whatever the program itself asks for."""

    def options(*arguments: Any, env_options_overrides: Any = None, **named: Any) -> Any:
        return _given(*arguments, env_options_overrides={**(env_options_overrides or {}), **lane}, **named)

    return options


_optimised_options = _options(xla_cpu_use_fusion_emitters=True) if _NO_EMITTERS in os.environ["XLA_FLAGS"] else _given
compiler.get_compile_options = _options(xla_backend_optimization_level=0)


def _draw(*arguments: Any) -> Any:
    """Lower random bits as straight code, as on other devices; jax's loop, which LLVM optimises sooner, compiles in twice the time."""
    plain = "JAX_DISABLE_MOST_OPTIMIZATIONS" in os.environ
    lowered = threefry2x32._threefry2x32_lowering_rule if plain else threefry2x32._threefry2x32_cpu_lowering_rule
    return lowered(*arguments)


mlir.register_lowering(threefry2x32.threefry2x32_p, _draw, platform="cpu")


@contextlib.contextmanager
def optimised() -> Iterator[None]:
    """Compile with all optimisations inside the block, also in processes started there; the mark `optimised` does so for a test."""
    plain, flags = os.environ.pop("JAX_DISABLE_MOST_OPTIMIZATIONS", ""), os.environ["XLA_FLAGS"]
    os.environ["XLA_FLAGS"] = flags.replace(_NO_EMITTERS, "")
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        with _optimises(True), mock.patch.object(compiler, "get_compile_options", _optimised_options):
            yield
    finally:
        os.environ["XLA_FLAGS"] = flags
        if plain:  # otherwise the lane was already entered
            jax.config.update("jax_disable_most_optimizations", True)
            os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = plain


_devices = {name: getattr(jax, name) for name in ("devices", "local_devices")}


def _first(devices: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments, **named: devices(*arguments, **named)[:1]


for _name in _devices:
    setattr(jax, _name, _first(_devices[_name]))


@contextlib.contextmanager
def spread() -> Iterator[None]:
    """Find all eight devices, as the mark `spread` does for a whole test."""
    with mock.patch.multiple(jax, **_devices):
        yield
