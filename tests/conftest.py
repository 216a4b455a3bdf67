"""Eight virtual CPU devices, shapes checked at every call, no silent broadcasting; warnings are errors (pyproject.toml).

XLA barely optimises, except in tests marked `optimised` (tests/lanes.py).
"""

import os
from pathlib import Path

os.environ["XDG_CACHE_HOME"] = str(Path(__file__).parents[1] / ".cache")  # compiled programs stay out of the home directory
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

if (worker := os.environ.get("PYTEST_XDIST_WORKER", "")) and hasattr(os, "sched_setaffinity"):
    # Each worker has a core of its own: two that share two cores take turns, and both lose.
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})

from jaxtyping import install_import_hook

install_import_hook("aeseg", "beartype.beartype")

import jax  # noqa: E402  (after its environment is set)
import pytest  # noqa: E402

from tests import lanes  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True)
def _lane(request):
    """Run a test marked `optimised` in that lane."""
    if request.node.get_closest_marker("optimised") is None:
        yield
        return
    with lanes.optimised():
        yield
