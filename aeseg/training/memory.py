"""Memory of this process: its peak, and reuse of what a step frees."""

import contextlib
import ctypes
import resource
import sys
from collections.abc import Iterator

ONE_HEAP = {-8: 1}
"""glibc's M_ARENA_MAX (malloc.h): all threads share one heap."""

KEPT = {-4: 0, -1: -1}
"""glibc's M_MMAP_MAX and M_TRIM_THRESHOLD: large buffers lie in a heap that never shrinks."""

RETURNED = {-4: 65536, -1: 2**17}
"""Their defaults: the system gets large buffers back at once, and the free end of the heap."""


def peak() -> int:
    """Return the largest resident memory of this process, in bytes; Linux's ru_maxrss is at least that of the process that started it."""
    try:
        with open("/proc/self/status", encoding="utf-8") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def share_heap() -> None:
    """Let all threads share one heap; call it before they start."""
    _set(ONE_HEAP)


def keep_freed() -> None:
    """Reuse the memory that a step frees, instead of returning it to the system.

    XLA allocates large buffers in each step.  By default glibc returns them to the system, so every page is mapped and zeroed again in each
    step.  Call it after the programs are compiled: what the compiler has freed returns to the system now, and the peak stays lower.
    """
    _set(KEPT)


def trim() -> None:
    """Return freed memory to the system once.

    Small blocks come to lie in what a step has freed; then the next step cannot reuse it and the heap grows.  Called now and then, this
    function keeps the peak of small networks a tenth lower.
    """
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


@contextlib.contextmanager
def returned() -> Iterator[None]:
    """Return freed memory to the system inside the block, then keep it again.

    For what happens between steps: otherwise the buffers of an evaluation, a checkpoint or a picture stay beside those of the step.
    """
    _set(RETURNED)
    try:
        yield
    finally:
        keep_freed()


def _set(parameters: dict[int, int]) -> None:
    """Return freed memory to the system and set parameters of malloc, on Linux with glibc; elsewhere do nothing."""
    trim()
    if (libc := _glibc()) is not None:
        for parameter, value in parameters.items():
            libc.mallopt(parameter, value)


def _glibc() -> ctypes.CDLL | None:
    return libc if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "gnu_get_libc_version") else None
