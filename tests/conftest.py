"""Tests run on eight virtual CPU devices; shapes are checked at every call; rank promotion and warnings are errors.

XLA barely optimises, except in tests marked `optimised` (tests/lanes.py).
"""

import atexit
import gc
import os
import re
import tempfile
from pathlib import Path

import jaxlib.version

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
if jaxlib.version.__version_info__ < (0, 11):  # kernels without MLIR compile in half the time; later versions lack this option
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XDG_CACHE_HOME"] = str(Path(__file__).parents[1] / ".cache")  # keep caches out of the home directory

if not (worker := os.environ.get("PYTEST_XDIST_WORKER", "")):
    # All tests, workers and processes of a run share compiled programs.  AESEG_TEST_CACHE names a folder that keeps the programs for the
    # next run; without it, each run compiles its own.
    if not (programs := os.environ.get("AESEG_TEST_CACHE", "")):
        folder = tempfile.TemporaryDirectory(prefix="aeseg-tests-")
        atexit.register(folder.cleanup)
        programs = folder.name
    os.environ["JAX_COMPILATION_CACHE_DIR"] = programs
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"  # reading a program takes hundredths of a second

if worker and hasattr(os, "sched_setaffinity"):
    # Give each worker its own core: two workers that share two cores slow each other down.
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})

from jaxtyping import install_import_hook

install_import_hook("aeseg", "beartype.beartype")

import jax  # noqa: E402  (after its environment is set)
import pytest  # noqa: E402

from tests import lanes  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_collection_finish():
    """Exclude all imported objects, millions, from garbage collection."""
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give all tests of a part to one worker, and all other tests of a file, so that they share fixtures and programs."""
    from xdist.scheduler import LoadScopeScheduling

    class ByPart(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            part = re.search(r"\[((?:method|encoder|decoder|head|source)-\w+)\]$", nodeid)
            return part.group(1) if part else nodeid.partition("::")[0]

    return ByPart(config, log)


@pytest.fixture(autouse=True)
def _lane(request):
    """Run a test marked `optimised` in that lane."""
    if request.node.get_closest_marker("optimised") is None:
        yield
        return
    with lanes.optimised():
        yield
