"""Agreement of all processes of a run at each step, without waiting for one another."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from aeseg.training import mesh as meshes


class Agreement:
    """Maximum over all processes.  Every process calls `agreed(number)` at every step; it returns the largest number of the last call.

    The maximum is a collective whose result is read one call late, so that no host waits for the running step.  With one process,
    `agreed` returns the number itself.
    """

    def __init__(self, mesh: Mesh):
        self._alone, self._last = jax.process_count() == 1, None
        self._rows = NamedSharding(mesh, meshes.ROWS)
        self._largest = jax.jit(jnp.max, out_shardings=meshes.replicated(mesh))
        self._devices = sum(device.process_index == jax.process_index() for device in mesh.devices.flat)

    def agreed(self, number: int) -> int:
        """Return the agreed number."""
        if self._alone:
            return number
        mine = jax.make_array_from_process_local_data(self._rows, np.full(self._devices, number, np.int32))
        last, self._last = self._last, self._largest(mine)
        return 0 if last is None else int(last)
