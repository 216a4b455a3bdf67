"""Calls of a module as one compiled program.  Without jit, JAX compiles every operation separately, which takes seconds."""

from typing import Any

import jax
from flax import linen as nn


def init(module: nn.Module, *arguments: Any, **named: Any) -> Any:
    """Return `module.init(...)`, compiled."""
    return jax.jit(lambda: module.init(*arguments, **named))()


def apply(module: nn.Module, variables: Any, *arguments: Any, **named: Any) -> Any:
    """Return `module.apply(variables, ...)`, compiled for these arguments; a dict keeps its order, which jax.jit sorts."""
    order: list[Any] = []

    def call(variables: Any) -> Any:
        output = module.apply(variables, *arguments, **named)
        order.extend(output if isinstance(output, dict) else ())
        return output

    output = jax.jit(call)(variables)
    return {name: output[name] for name in order} if order else output
