"""What a process does before it computes anything, and how it was started."""

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
    """Join the other processes, where a cluster started several, and keep memory and compiled programs for the next step and run."""
    many = int(os.environ.get("SLURM_NTASKS", "1")) > 1 or "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")
    if (many or os.environ.get("JAX_COORDINATOR_ADDRESS")) and not jax.distributed.is_initialized():
        cluster.join()
    keep_freed_memory()
    compile_cache.enable()


def keep_freed_memory() -> None:
    """Reuse the memory that a step frees, on Linux with glibc; nothing elsewhere.

    XLA allocates a step's large buffers anew each time.  glibc takes them from the system and gives them back, so that every page is
    mapped and zeroed again in each step.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "gnu_get_libc_version"):
        for parameter, value in KEPT.items():
            libc.mallopt(parameter, value)


def launcher() -> str:
    """How the reader started us, for the next command: `./launch.sh ` or `python -m experiments.`."""
    return os.environ.get("AESEG_LAUNCHER", f"python -m {module('')}")
