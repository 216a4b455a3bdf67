"""What all processes of a run agree on at each step, without waiting for one another."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from aeseg.training import mesh as meshes


class Agreement:
    """`agreed(number)`, called by every process at every step: the largest number that any of them gave one call ago.

    The answer is a collective's whose result is read one call late, so that no host waits for the step that still computes.  With one
    process it is the number itself, at once.
    """

    def __init__(self, mesh: Mesh):
        self._alone, self._last = jax.process_count() == 1, None
        self._rows = NamedSharding(mesh, meshes.ROWS)
        self._largest = jax.jit(jnp.max, out_shardings=meshes.replicated(mesh))
        self._devices = sum(device.process_index == jax.process_index() for device in mesh.devices.flat)

    def agreed(self, number: int) -> int:
        """The agreed number."""
        if self._alone:
            return number
        mine = jax.make_array_from_process_local_data(self._rows, np.full(self._devices, number, np.int32))
        last, self._last = self._last, self._largest(mine)
        return 0 if last is None else int(last)
