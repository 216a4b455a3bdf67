"""Start of a process: cluster, memory and compile cache."""

import ctypes
import os
import sys

import jax

from aeseg import compile_cache
from aeseg.training import cluster

from .. import module

KEPT = {-4: 0, -1: 2**31 - 1, -8: 1}
"""glibc's M_MMAP_MAX, M_TRIM_THRESHOLD, M_ARENA_MAX (malloc.h): all memory from one heap that never shrinks."""


def start() -> None:
    """Join the other processes of a cluster, if any; reuse memory between steps and compiled programs between runs."""
    several = int(os.environ.get("SLURM_NTASKS", "1")) > 1 or "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")
    if (several or os.environ.get("JAX_COORDINATOR_ADDRESS")) and not jax.distributed.is_initialized():
        cluster.join()
    keep_freed_memory()
    compile_cache.enable()


def keep_freed_memory() -> None:
    """Reuse the memory that a step frees, on Linux with glibc; elsewhere do nothing.

    XLA allocates large buffers in each step.  By default glibc returns them to the system, so every page is mapped and zeroed again in each
    step.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "gnu_get_libc_version"):
        for parameter, value in KEPT.items():
            libc.mallopt(parameter, value)


def launcher() -> str:
    """Return the user's prefix for the next command: `./launch.sh ` or `python -m experiments.`."""
    return os.environ.get("AESEG_LAUNCHER", f"python -m {module('')}")
