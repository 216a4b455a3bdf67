"""The train step, and the preparation of its batch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from aeseg import images, keys
from aeseg.metrics import Mean, divide
from aeseg.training import mesh as meshes
from aeseg.training.state import TrainState, averaged
from aeseg.types import Batch

Terms = dict[str, Mean]


def train_step(
    method: nn.Module, optimiser: Any, mesh: Mesh, microbatches: int, seed: Any, ema: float
) -> Callable[[TrainState, Batch], tuple[TrainState, Terms]]:
    """Return the jitted `update` of one run, which reuses the old state's memory."""
    step = update(method, mesh, microbatches, ema)
    return jax.jit(lambda state, batch: step(state, batch, optimiser, jax.random.key(seed)), donate_argnums=0)


def update(
    method: nn.Module, mesh: Mesh, microbatches: int = 1, ema: float = 0.0
) -> Callable[[TrainState, Batch, Any, Array], tuple[TrainState, Terms]]:
    """Return (state, batch, optimiser, the run's root key) -> (next state, Means of the step), for the caller to compile.

    The loss of the GLOBAL batch is sum_k c_k total_k / weight_k, with weights from `method.denominators` of the whole batch.  So
    microbatches and devices change only the rounding.  (As usual, batch norm sees one microbatch at a time.)  `ema` is the decay of
    the running mean of parameters and batch statistics; 0 keeps no mean.
    """
    coefficients = method.coefficients

    def loss(params: Any, collections: Any, batch: Batch, weights: dict[str, Array], rngs: dict[str, Array]) -> tuple[Any, Any]:
        variables = {"params": params, **collections}
        with nn.intercept_methods(meshes.rows_stay_spread(mesh, len(batch["valid"]))):
            means, updated = method.apply(variables, batch, train=True, rngs=rngs, mutable=list(collections))
        total = sum(c * divide(means[name].total, weights[name]) for name, c in coefficients.items())
        return total, (means, dict(updated))

    def step(state: TrainState, batch: Batch, optimiser: Any, root: Array) -> tuple[TrainState, Terms]:
        batch = prepare(batch)
        weights = method.denominators(batch)
        streams = {name: keys.stream(root, name, state.step) for name in keys.STREAMS}

        def part(carry: Any, microbatch_and_number: Any) -> tuple[Any, None]:
            microbatch, number = microbatch_and_number
            gradient, collections, means = carry
            rngs = {n: jax.random.fold_in(k, number) if n in keys.PER_MICROBATCH else k for n, k in streams.items()}
            (_, (more, collections)), slope = jax.value_and_grad(loss, has_aux=True)(state.params, collections, microbatch, weights, rngs)
            return (jax.tree.map(jnp.add, gradient, slope), collections, add(means, more)), None

        if microbatches == 1:
            (_, (means, collections)), gradient = jax.value_and_grad(loss, has_aux=True)(
                state.params, state.collections, batch, weights, streams
            )
        else:
            parts = cut(batch, microbatches, mesh)
            first = jax.tree.map(lambda array: array[0], parts)
            shape = jax.eval_shape(loss, state.params, state.collections, first, weights, streams)
            nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), (state.params, shape[1][0]))
            start = (nothing[0], state.collections, nothing[1])
            (gradient, collections, means), _ = jax.lax.scan(part, start, (parts, jnp.arange(microbatches)))

        updates, opt_state = optimiser.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        now = averaged(params, collections)
        mean = jax.tree.map(lambda old, new: ema * old + (1 - ema) * new, state.ema, now) if ema else {}
        new = TrainState(state.step + 1, params, collections, opt_state, mean)
        new = jax.lax.with_sharding_constraint(new, meshes.shardings(mesh, new))
        terms = dict(means)
        terms["loss"] = Mean(sum(c * divide(means[n].total, weights[n]) for n, c in coefficients.items()), jnp.float32(1))
        terms["gradient_norm"] = Mean(optax.tree.norm(gradient), jnp.float32(1))
        return new, terms

    return step


def prepare(batch: Batch) -> dict[str, Array]:
    """Convert a loaded batch to a Method's input: float32 images in [0, 1], `valid`, and each row's index."""
    rows = batch["image"].shape[0]
    ready = {"valid": jnp.ones((rows,), bool), "index": jnp.arange(rows, dtype=jnp.int32), **batch}
    ready["image"] = images.as_float(batch["image"])
    return ready


def cut(batch: Batch, microbatches: int, mesh: Mesh) -> dict[str, Array]:
    """Reshape [b ...] -> [m b/m ...]: a microbatch takes every m-th row, so it stays sharded over all devices."""
    rows = NamedSharding(mesh, PartitionSpec(None, *meshes.ROWS))

    def one(array: Array) -> Array:
        parts = array.reshape(-1, microbatches, *array.shape[1:]).swapaxes(0, 1)
        return jax.lax.with_sharding_constraint(parts, rows)

    return {name: one(array) for name, array in batch.items()}


def add(left: Terms, right: Terms) -> Terms:
    """Add the Means of two parts of a set, term by term."""
    return {name: left[name] + right[name] for name in left}
