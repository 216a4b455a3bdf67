"""TrainState, the saved state of a run, and its initialisation."""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.sharding import Mesh

from aeseg import keys
from aeseg.training import mesh as meshes
from aeseg.types import Loaded

QUICK_TO_COMPILE = {"xla_backend_optimization_level": 1}
"""XLA options for a CPU program that runs once: every parameter's draw is a kernel, and LLVM level 3 takes 6 times as long."""


class TrainState(flax.struct.PyTreeNode):
    """Everything that the next step needs besides its batch.

    `collections` are the variables without gradients (batch statistics, a codebook).  `ema` holds the running means of parameters
    and batch statistics, {"params": ..., "batch_stats": ...}, or {} without running means.
    """

    step: Any  # int32 []; a shape or sharding in trees of shapes or shardings
    params: Any
    collections: Any
    opt_state: Any
    ema: Any

    @property
    def variables(self) -> dict[str, Any]:
        """Return the variables for predictions: the running means of parameters and batch statistics, if there are any."""
        return {"params": self.params, **self.collections, **self.ema}


def averaged(params: Any, collections: Any) -> dict[str, Any]:
    """Return the variables that have a running mean: parameters and their batch statistics.

    As in torch's AveragedModel(use_buffers=True) and timm's ModelEma: averaged weights need averaged statistics.
    """
    return {"params": params, **{name: leaves for name, leaves in collections.items() if name == "batch_stats"}}


def shapes(method: nn.Module, optimiser: Any, batch: Loaded, seed: int, ema: bool) -> TrainState:
    """Return the state as shapes; finds all errors of tracing without computing."""
    return jax.eval_shape(lambda: initial(method, optimiser, batch, seed, ema))


def create(method: nn.Module, optimiser: Any, batch: Loaded, seed: int, ema: bool, mesh: Mesh) -> TrainState:
    """Return an initial state, created with its sharding; only the shapes of `batch` are used (one row is enough)."""
    return jitted(lambda: initial(method, optimiser, batch, seed, ema), mesh)()


def jitted(start: Callable[..., TrainState], mesh: Mesh, *arguments: Any) -> Callable[..., TrainState]:
    """Return `start` jitted, whose state has its sharding.  JAX traces one function once: for its shapes and its program."""
    placed = meshes.shardings(mesh, jax.eval_shape(start, *arguments))
    options = QUICK_TO_COMPILE if mesh.devices.flat[0].platform == "cpu" else {}
    return jax.jit(start, out_shardings=placed, compiler_options=options)


def example(batch: Loaded) -> dict[str, Any]:
    """Return one row of zeros in the form that a Method takes: float32 images, `valid` and `index`."""
    row = {name: jnp.zeros((1, *array.shape[1:]), array.dtype) for name, array in batch.items()}
    row["image"] = jnp.zeros(row["image"].shape, jnp.float32)
    return {**row, "valid": jnp.ones((1,), bool), "index": jnp.zeros((1,), jnp.int32)}


def initial(method: nn.Module, optimiser: Any, batch: Loaded, seed: Any, ema: bool) -> TrainState:
    """Return an initial state, for tracing; `seed` may be an array."""
    root = jax.random.key(seed)
    variables = dict(method.init(keys.stream(root, "init", 0), example(batch), train=False))
    params = variables.pop("params")
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        collections=variables,
        opt_state=optimiser.init(params),
        ema=jax.tree.map(jnp.copy, averaged(params, variables)) if ema else {},
    )
