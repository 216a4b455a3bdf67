"""Mesh of devices with the axes `data` and `fsdp`, and the rule that shards parameters."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from aeseg.types import UserError

ROWS = PartitionSpec(("data", "fsdp"))
"""Batches are sharded along their first axis over all devices."""


def create(fsdp: int = 1, devices: Sequence[jax.Device] = ()) -> Mesh:
    """Return a mesh of all devices of all hosts, or of the given devices, as `data` x `fsdp`.

    `fsdp` devices share one copy of the parameters; `fsdp` must divide the number of devices.
    """
    chosen = list(devices) or jax.devices()
    if fsdp < 1 or len(chosen) % fsdp:
        raise UserError(f"fsdp must divide the number of devices, {len(chosen)}; got {fsdp}. Set --config.fsdp to a divisor.")
    # Auto, because the default (Explicit) breaks dropout, batch norm and attention of linen.
    return jax.make_mesh((len(chosen) // fsdp, fsdp), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2, devices=chosen)


def check_batch(mesh: Mesh, batch_size: int, microbatches: int) -> None:
    """Raise UserError unless every device gets the same number of rows of every microbatch."""
    parts = mesh.size * microbatches
    if batch_size < 1 or batch_size % parts:
        raise UserError(
            f"The batch must divide into {mesh.size} devices x {microbatches} microbatches; got batch_size {batch_size}. "
            f"Use a multiple of {parts}."
        )


def replicated(mesh: Mesh) -> NamedSharding:
    """Return a sharding with a full copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def parameter_sharding(mesh: Mesh, shape: tuple[int, ...]) -> NamedSharding:
    """Shard an array along its largest axis that `fsdp` divides; else replicate it."""
    fsdp = mesh.shape["fsdp"]
    axes = [axis for axis, size in enumerate(shape) if size % fsdp == 0 and size >= fsdp]
    if fsdp == 1 or not axes:
        return replicated(mesh)
    largest = max(axes, key=lambda axis: (shape[axis], axis))
    return NamedSharding(mesh, PartitionSpec(*(("fsdp" if axis == largest else None) for axis in range(len(shape)))))


def rows_stay_spread(mesh: Mesh, rows: int) -> Callable[..., Any]:
    """Return an interceptor for linen's `intercept_methods`: if parameters are sharded, arrays with `rows` rows stay sharded by rows.

    With only the parameters sharded, the compiler chooses.  Inside a scan over layers it shards the features and gathers the whole
    batch's activations on every device.  With the rows fixed, it gathers each layer's parameters when they are needed.
    """
    held = NamedSharding(mesh, ROWS)
    cuts = mesh.shape["fsdp"] > 1 and rows % mesh.size == 0

    def spread(leaf: Any) -> Any:
        is_rows = cuts and isinstance(leaf, jax.Array) and leaf.ndim > 1 and leaf.shape[0] == rows
        return jax.lax.with_sharding_constraint(leaf, held) if is_rows else leaf

    return lambda call, arguments, options, context: jax.tree.map(spread, call(*arguments, **options))


def shardings(mesh: Mesh, tree: Any) -> Any:
    """Apply the rule to each leaf of a tree of arrays or shapes."""
    return jax.tree.map(lambda leaf: parameter_sharding(mesh, leaf.shape), tree)


def place(mesh: Mesh, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """Return this process's rows of a batch as parts of global arrays, sharded over all devices."""
    rows = NamedSharding(mesh, ROWS)
    return {name: jax.make_array_from_process_local_data(rows, array) for name, array in batch.items()}
