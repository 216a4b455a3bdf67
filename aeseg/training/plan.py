"""What a training step needs of each device, from its compiled program: nothing is computed, no accelerator need be there."""

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
    """What one device holds, in bytes, and what it exchanges with the others.

    arguments     its part of the state and of the batch
    results       what takes the place of no argument
    temporaries   all else, at the fullest moment
    collectives   how often each kind stands in the program, where one in a loop counts once
    gathered      the shapes that all-gathers make: those of parameters, unless something is wrong
    """

    arguments: int
    results: int
    temporaries: int
    collectives: dict[str, int]
    gathered: tuple[tuple[int, ...], ...]

    @property
    def bytes(self) -> int:
        """All that a device must hold."""
        return self.arguments + self.results + self.temporaries


def step_needs(method: Any, optimiser: Any, mesh: Mesh, batch: Mapping[str, jax.ShapeDtypeStruct], microbatches: int = 1) -> Needs:
    """Lower and compile the train step for the mesh's devices from shapes alone; `batch` is the global one, as it comes over the wire."""
    row = states.example({name: np.zeros((1, *array.shape[1:]), array.dtype) for name, array in batch.items()})
    shapes = states.shapes(method, optimiser, row, 0, False)
    placed = jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), shapes, meshes.shardings(mesh, shapes)
    )
    rows = NamedSharding(mesh, meshes.ROWS)
    given = {name: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=rows) for name, array in batch.items()}
    return needs(steps.train_step(method, optimiser, mesh, microbatches, 0, 0.0).lower(placed, given).compile())  # type: ignore[attr-defined]


def needs(compiled: Any) -> Needs:
    """The Needs of a compiled program."""
    memory, text = compiled.memory_analysis(), compiled.as_text()
    found = Counter(re.findall(rf"\s({'|'.join(COLLECTIVES)})(?:-start)?\(", text))
    shapes = {
        tuple(int(side) for side in sides.split(",") if side)
        for result in re.findall(r" = ([^=]*?) all-gather(?:-start)?\(", text)
        for sides in re.findall(r"\w+\[([\d,]*)\]", result)
    }
    return Needs(
        arguments=memory.argument_size_in_bytes,
        results=memory.output_size_in_bytes - memory.alias_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        collectives=dict(found),
        gathered=tuple(sorted(shapes, key=lambda shape: (len(shape), shape))),
    )


def tpu_devices(topology: str) -> list[Any]:
    """The chips of a TPU slice such as "v5e:4x4", for programs to be compiled for; it needs the wheel of libtpu, and no TPU."""
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # or it asks a metadata server, which only a TPU's host has, for minutes
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # no chip is opened, so another process may plan, too
    from jax.experimental import topologies  # after its environment is set

    try:
        return list(topologies.get_topology_desc(platform="tpu", topology_name=topology).devices)
    except (RuntimeError, ImportError) as error:
        raise UserError(
            f"The chips of {topology} are known to libtpu only, which does not give them ({error}). "
            "Install jax[tpu] in an environment of its own, or name another slice."
        ) from error
