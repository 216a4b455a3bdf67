"""Start of a process: cluster, memory, compile cache and CPU kernels."""

import os

import jax

from aeseg import compile_cache
from aeseg.models import onednn
from aeseg.training import cluster, memory

from .. import module


def start(trains: bool = False, portable: bool = False) -> None:
    """Join the other processes of a cluster, if any; reuse memory between steps and compiled programs between runs; use oneDNN.

    A process that `trains` keeps freed memory only from its second step on (aeseg/training/loop.py).  A `portable` one does not use oneDNN:
    its numbers do not depend on what is installed.
    """
    several = int(os.environ.get("SLURM_NTASKS", "1")) > 1 or "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")
    if (several or os.environ.get("JAX_COORDINATOR_ADDRESS")) and not jax.distributed.is_initialized():
        cluster.join()
    memory.share_heap()
    if not trains:
        memory.keep_freed()
    compile_cache.enable()
    if not portable:
        onednn.enable()


def launcher() -> str:
    """Return the user's prefix for the next command: `./launch.sh ` or `python -m experiments.`."""
    return os.environ.get("AESEG_LAUNCHER", f"python -m {module('')}")
