"""Memory and collectives of a compiled training step per device. Nothing runs, and no accelerator is needed."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from aeseg.training import mesh as meshes
from aeseg.training import state as states
from aeseg.training import step as steps
from aeseg.types import UserError

COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "collective-permute", "reduce-scatter")


class Needs(NamedTuple):
    """Memory of one device, in bytes, and its communication.

    arguments     its part of the state and of the batch
    results       outputs that do not reuse the memory of an argument
    temporaries   everything else, at the peak
    collectives   occurrences of each kind in the program; one inside a loop counts once
    gathered      shapes that all-gathers make: shapes of parameters, unless something is wrong
    """

    arguments: int
    results: int
    temporaries: int
    collectives: dict[str, int]
    gathered: tuple[tuple[int, ...], ...]

    @property
    def bytes(self) -> int:
        """Total memory of a device."""
        return self.arguments + self.results + self.temporaries


def step_needs(method: Any, optimiser: Any, mesh: Mesh, batch: Mapping[str, jax.ShapeDtypeStruct], microbatches: int = 1) -> Needs:
    """Compile the train step for the devices of a mesh, from shapes only; `batch` is the global batch as the loader makes it."""
    row = states.example({name: np.zeros((1, *array.shape[1:]), array.dtype) for name, array in batch.items()})
    shapes = states.shapes(method, optimiser, row, 0, False)
    sharded = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes, meshes.shardings(mesh, shapes)
    )
    rows = NamedSharding(mesh, meshes.ROWS)
    given = {name: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=rows) for name, array in batch.items()}
    return needs(steps.train_step(method, optimiser, mesh, microbatches, 0, 0.0).lower(sharded, given).compile())  # type: ignore[attr-defined]


def needs(compiled: Any) -> Needs:
    """Return the Needs of a compiled program."""
    memory, text = compiled.memory_analysis(), compiled.as_text()
    counts = Counter(re.findall(rf"\s({'|'.join(COLLECTIVES)})(?:-start)?\(", text))
    shapes = {
        tuple(int(side) for side in sides.split(",") if side)
        for result in re.findall(r" = ([^=]*?) all-gather(?:-start)?\(", text)
        for sides in re.findall(r"\w+\[([\d,]*)\]", result)
    }
    return Needs(
        arguments=memory.argument_size_in_bytes,
        results=memory.output_size_in_bytes - memory.alias_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        collectives=dict(counts),
        gathered=tuple(sorted(shapes, key=lambda shape: (len(shape), shape))),
    )


def tpu_devices(topology: str) -> list[Any]:
    """Return the devices of a TPU slice such as "v5e:4x4", to compile for. Needs the wheel of libtpu, but no TPU."""
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # else it queries a metadata server, which only TPU hosts have, for minutes
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # no chip is opened, so other processes may plan too
    from jax.experimental import topologies  # after the environment is set

    try:
        return list(topologies.get_topology_desc(platform="tpu", topology_name=topology).devices)
    except (RuntimeError, ImportError) as error:
        raise UserError(
            f"libtpu cannot describe the TPU slice {topology!r} ({error}). "
            "Install jax[tpu] in a separate environment, or name another slice."
        ) from error
