"""Several processes that train one model: how they find one another, and what becomes of them when one is lost.

jax.distributed notices a lost process, too, but then aborts with a stack of C++ and names nobody.  So each process here writes a
number that counts up into the job's key-value store, and a thread reads the others'.
"""

import atexit
import ctypes
import os
import re
import signal
import threading
import time
from typing import Any

import jax
from jax._src import distributed

from aeseg.training import signals
from aeseg.types import UserError

LOST_AFTER = 30
"""Seconds without a sign of life after which a process counts as lost."""

PERIOD = 1.0
"""Seconds between two signs of life."""

ALIVE = "aeseg/alive/"
"""Where the signs of life stand in the store."""

PARTED = "parted"
"""The last sign of a process that ends in order."""


def join(lost_after: int = LOST_AFTER, start_within: int = 300, **address: Any) -> None:
    """Join the other processes of this job; `address` is what jax.distributed.initialize takes where no cluster says it.

    A process that is lost ends the others within about `lost_after` seconds, with exit code 1 and one sentence that names it.  Raises
    UserError if not all processes have come after `start_within` seconds.  The environment variable AESEG_LOST_AFTER overrides
    `lost_after`.
    """
    lost_after = int(os.environ.get("AESEG_LOST_AFTER", lost_after))
    # jax's own handler of SIGTERM would take the place of ours (aeseg/training/signals.py).
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            heartbeat_timeout_seconds=2 * lost_after,  # later than ours
            shutdown_timeout_seconds=lost_after,
            initialization_timeout=start_within,
            **address,
        )
    except RuntimeError as error:
        if "DEADLINE_EXCEEDED" not in str(error):
            raise
        raise UserError(
            f"Not all processes of the job came within {start_within} s{_missing(str(error))}. "
            "See why they did not start, and start all again; the run goes on from its last checkpoint."
        ) from error
    _abort_late()
    atexit.register(part)
    threading.Thread(target=_watch, args=(lost_after,), name="aeseg-cluster", daemon=True).start()


def part() -> None:
    """Let go of the other processes in order; waits for them to do so, too."""
    if jax.distributed.is_initialized():
        state: Any = distributed.global_state
        state.client.key_value_set(f"{ALIVE}{state.process_id}", PARTED, allow_overwrite=True)
        jax.distributed.shutdown()


def _watch(lost_after: int) -> None:
    """The thread: counts up, and ends the process when another has not for so many seconds or the store is gone."""
    state: Any = distributed.global_state
    seen: dict[int, tuple[str | None, float]] = {}
    began, number = time.monotonic(), 0
    while state.client is not None:
        try:
            state.client.key_value_set(f"{ALIVE}{state.process_id}", str(number), allow_overwrite=True)
            found = dict(state.client.key_value_dir_get(ALIVE))
        except (RuntimeError, AttributeError):
            if state.client is None:  # this process has parted in order
                return
            _end(0, lost_after)
        now, number = time.monotonic(), number + 1
        for process in range(state.num_processes):
            value = found.get(f"{ALIVE}{process}")
            if value == PARTED:
                return
            if process not in seen or seen[process][0] != value:
                seen[process] = value, now
            elif now - max(began, seen[process][1]) > lost_after:
                _end(process, lost_after)
        time.sleep(PERIOD)


def _end(lost: int, lost_after: int) -> None:
    state = distributed.global_state
    signals.leave(
        1,
        f"Process {lost} of {state.num_processes} is lost (no sign of life for {lost_after} s, or its connection has ended), so process "
        f"{state.process_id} ends, too. Start all again: the run goes on from its last checkpoint.",
    )


def _abort_late() -> None:
    """Delay this process's abort() by six seconds, so that `_watch` can say why.

    The store lives in the first process.  When that is killed, jax's client in the others aborts at once.  The handler of SIGABRT is
    made libc's sleep, which the system calls with the signal's number, 6, and which needs nothing of Python.
    """
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    libc.signal(signal.SIGABRT, ctypes.cast(libc.sleep, ctypes.c_void_p))


def _missing(message: str) -> str:
    """Of a barrier's error: who did not come."""
    names = re.search(r"timed out task names:(.*)", message, re.DOTALL)
    found = sorted(set(map(int, re.findall(r"task:(\d+)", names[1])))) if names else []
    return f" (missing: {', '.join(map(str, found))})" if found else ""
