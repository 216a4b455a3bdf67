"""What a run must remember: TrainState, and how the first one is made."""

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
"""Options of XLA on a CPU for a program that runs once: each parameter's draw is a kernel, and LLVM takes 6 times as long at level 3."""


class TrainState(flax.struct.PyTreeNode):
    """Everything that the next step needs besides its batch; saved and restored whole.

    `collections` are the variables that are not trained (batch statistics, a codebook); `ema` holds the running means of the
    parameters and of batch statistics, {"params": ..., "batch_stats": ...}, or {} when none are kept.
    """

    step: Any  # int32 []; a shape or a sharding in trees of those
    params: Any
    collections: Any
    opt_state: Any
    ema: Any

    @property
    def variables(self) -> dict[str, Any]:
        """What `method.apply` takes to predict: the means of parameters and batch statistics where they are kept."""
        return {"params": self.params, **self.collections, **self.ema}


def averaged(params: Any, collections: Any) -> dict[str, Any]:
    """Return the variables that a running mean is kept of: parameters, and the batch statistics that belong to them.

    As torch's AveragedModel(use_buffers=True) and timm's ModelEma: statistics of other weights would be of another network.
    """
    return {"params": params, **{name: leaves for name, leaves in collections.items() if name == "batch_stats"}}


def shapes(method: nn.Module, optimiser: Any, batch: Loaded, seed: int, ema: bool) -> TrainState:
    """The state as shapes: every error of a first trace without a single multiplication."""
    return jax.eval_shape(lambda: initial(method, optimiser, batch, seed, ema))


def create(method: nn.Module, optimiser: Any, batch: Loaded, seed: int, ema: bool, mesh: Mesh) -> TrainState:
    """A fresh state, made where it will live; `batch` gives shapes only (one row is enough)."""
    placed = meshes.shardings(mesh, shapes(method, optimiser, batch, seed, ema))
    options = QUICK_TO_COMPILE if mesh.devices.flat[0].platform == "cpu" else {}
    return jax.jit(lambda: initial(method, optimiser, batch, seed, ema), out_shardings=placed, compiler_options=options)()


def example(batch: Loaded) -> dict[str, Any]:
    """One row of zeros in the form a Method sees: float32 images, `valid` and `index`."""
    row = {name: jnp.zeros((1, *array.shape[1:]), array.dtype) for name, array in batch.items()}
    row["image"] = jnp.zeros(row["image"].shape, jnp.float32)
    return {**row, "valid": jnp.ones((1,), bool), "index": jnp.zeros((1,), jnp.int32)}


def initial(method: nn.Module, optimiser: Any, batch: Loaded, seed: Any, ema: bool) -> TrainState:
    """Return a fresh state, to be traced; `seed` may be an array."""
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
