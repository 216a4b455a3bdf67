"""Shapes are checked at every call; rank promotion and warnings are errors.

XLA barely optimises, except in tests marked `optimised`, and there is one device, except in tests marked `spread`, which have
eight virtual ones (tests/lanes.py).
"""

import atexit
import contextlib
import gc
import os
import re
import tempfile
from pathlib import Path

import jaxlib.version

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
if jaxlib.version.__version_info__ < (0, 11):  # kernels without MLIR compile in half the time; later versions lack this option
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] += " --xla_cpu_parallel_codegen_split_count=1"  # one core compiles one piece sooner than 32
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

import submitit  # noqa: F401  (before absl: its import closes all handlers of logging, and absl closes the stream, which is pytest's)
from jaxtyping import install_import_hook

install_import_hook("aeseg", "beartype.beartype")

import jax  # noqa: E402  (after its environment is set)
import pytest  # noqa: E402

from tests import lanes  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_collection_finish():
    """Exclude all imported objects, millions, from garbage collection, and collect rarely: programs are long-lived objects."""
    gc.freeze()
    gc.set_threshold(50_000)


LONG = {
    "tests/methods/multimodal_test.py": 90,
    "method-multimodal": 80,
    "tests/experiments/compare_test.py": 70,
    "tests/everything_test.py": 70,
    "tests/training/loop_test.py": 70,
    "tests/training/signals_test.py": 60,
    "tests/models/layers_test.py": 60,
    "tests/runs/train_test.py": 60,
    "tests/experiments/study/together_test.py": 40,
    "tests/experiments/soak_test.py": 40,
    "tests/runs/init_test.py": 40,
    "tests/experiments/generate_test.py": 50,
    "tests/experiments/anomalies_test.py": 45,
    "tests/experiments/own_images_test.py": 35,
    "tests/experiments/study/fleets_test.py": 35,
    "tests/methods/variational_test.py": 35,
    "tests/methods/quantised_test.py": 35,
    "tests/training/nonfinite_test.py": 35,
}
"""Approximate seconds of the longest groups.  They start first, so that no worker is idle at the end."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give all tests of a part to one worker, and all other tests of a file: they share fixtures and programs.  The longest start first."""
    from xdist.scheduler import LoadScopeScheduling

    class ByPart(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            part = re.search(r"\[((?:method|encoder|decoder|head|source)-\w+)\]$", nodeid)
            return part.group(1) if part else nodeid.partition("::")[0]

        def _assign_work_unit(self, node):
            longest = max(self.workqueue, key=lambda scope: LONG.get(scope, len(self.workqueue[scope]) / 2))
            self.workqueue.move_to_end(longest, last=False)
            super()._assign_work_unit(node)

    return ByPart(config, log)


@pytest.fixture(autouse=True)
def _lane(request):
    """Run a test in the lanes that its marks name."""
    with contextlib.ExitStack() as entered:
        for name in ("optimised", "spread"):
            if request.node.get_closest_marker(name):
                entered.enter_context(getattr(lanes, name)())
        yield
