"""Calls of a module as one program: call by call, every operation would be compiled alone, which takes a tiny network seconds."""

from typing import Any

import jax
from flax import linen as nn


def init(module: nn.Module, *arguments: Any, **named: Any) -> Any:
    """Return `module.init(...)`, compiled."""
    return jax.jit(lambda: module.init(*arguments, **named))()


def apply(module: nn.Module, variables: Any, *arguments: Any, **named: Any) -> Any:
    """Return `module.apply(variables, ...)`, compiled for these arguments."""
    return jax.jit(lambda variables: module.apply(variables, *arguments, **named))(variables)
