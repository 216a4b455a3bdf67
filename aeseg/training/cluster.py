"""Several processes that train one model: how they join, and how they end when one is lost.

jax.distributed also notices a lost process, but aborts with a C++ stack trace that names no process.  Here, each process writes a
rising counter to the job's key-value store, and a thread reads the other counters.  Each process also holds a connection to the first
process, which breaks when either process ends.
"""

import atexit
import contextlib
import ctypes
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
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
"""Key of the signs of life in the store."""

LINE = "aeseg/line"
"""Key at which the first process stores its port, and the token for the connections."""

AT_ONCE = 0.5
"""Seconds from the end of a connection to the end of this process; time for an orderly end."""

_parting = False
_waits = LOST_AFTER

PARTED = "parted"
"""Last sign of a process that ends in order."""


def join(lost_after: int = LOST_AFTER, start_within: int = 300, **address: Any) -> None:
    """Join the other processes of this job; without a known cluster, `address` holds the arguments of jax.distributed.initialize.

    If a process is lost, the others end within about `lost_after` seconds, with exit code 1 and a sentence that names it.  If a process
    never starts, they end after `start_within` seconds.  The environment variable AESEG_LOST_AFTER overrides `lost_after`.
    """
    lost_after = int(os.environ.get("AESEG_LOST_AFTER", lost_after))
    # jax's handler of SIGTERM would replace ours (aeseg/training/signals.py).
    jax.config.update("jax_enable_preemption_service", False)
    text = f"Not all processes of the job came within {start_within} s. See which did not start, and start all again."
    late = threading.Timer(start_within, signals.leave, (1, text))  # jax would abort with a C++ stack trace
    late.daemon = True
    late.start()
    jax.distributed.initialize(
        heartbeat_timeout_seconds=2 * lost_after,  # later than ours
        shutdown_timeout_seconds=lost_after,
        initialization_timeout=2 * start_within,
        **address,
    )
    late.cancel()
    _abort_late()
    lines = _lines(lost_after)
    atexit.register(part)
    threading.Thread(target=_watch, args=(lost_after,), name="aeseg-cluster", daemon=True).start()
    for process, line in lines:
        threading.Thread(target=_listen, args=(process, line, lost_after), name=f"aeseg-cluster-{process}", daemon=True).start()


@contextlib.contextmanager
def losses_explained() -> Iterator[None]:
    """Delay device errors inside this context: if a process is lost, this process ends with that message; else the error is raised."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:  # dispatch raises ValueError for a failed collective
        if jax.process_count() > 1 and not isinstance(error, UserError):
            time.sleep(_waits + 2 * PERIOD)
        raise


def part() -> None:
    """Leave the job in order; wait until the other processes also leave."""
    global _parting
    if jax.distributed.is_initialized() and not _parting:
        _parting = True
        state: Any = distributed.global_state
        state.client.key_value_set(f"{ALIVE}{state.process_id}", PARTED, allow_overwrite=True)
        jax.distributed.shutdown()


def _watch(lost_after: int) -> None:
    """Thread: count up; end the process if another counter stops for `lost_after` seconds or the store is gone."""
    state: Any = distributed.global_state
    seen: dict[int, tuple[str | None, float]] = {}
    began, number = time.monotonic(), 0
    while state.client is not None and not _parting:
        try:
            state.client.key_value_set(f"{ALIVE}{state.process_id}", str(number), allow_overwrite=True)
            signs = dict(state.client.key_value_dir_get(ALIVE))
        except (RuntimeError, AttributeError):
            if _parting:
                return
            _end(0, lost_after)
        now, number = time.monotonic(), number + 1
        for process in range(state.num_processes):
            value = signs.get(f"{ALIVE}{process}")
            if process not in seen or seen[process][0] != value:
                seen[process] = value, now
            elif now - max(began, seen[process][1]) > lost_after:
                _end(process, lost_after)
        time.sleep(PERIOD)


def _lines(lost_after: int) -> list[tuple[int, socket.socket]]:
    """Return (process, connection) of the connected processes: the first process connects to all, the others to the first.

    A connection breaks as soon as its process ends.  If none can be made (a firewall), only the signs of life remain.
    """
    global _waits
    _waits = lost_after
    state: Any = distributed.global_state
    host = state.coordinator_address.rpartition(":")[0]
    if state.process_id == 0:
        server = socket.create_server(("", 0))
        token = secrets.token_hex(16)
        state.client.key_value_set(LINE, f"{server.getsockname()[1]} {token}")
        server.settimeout(10)
        return list(_accepted(server, token, state.num_processes - 1))
    port, token = state.client.blocking_key_value_get(LINE, 10_000).split()
    try:
        line = socket.create_connection((host.strip("[]"), int(port)), timeout=10)
        line.sendall(f"{token} {state.process_id:08d}".encode())
    except OSError:
        return []
    return [(0, line)]


def _accepted(server: socket.socket, token: str, expected: int) -> Iterator[tuple[int, socket.socket]]:
    """Yield the connections of processes that send the token."""
    with server:
        while expected:
            try:
                line, _ = server.accept()
                line.settimeout(5)
                given, _, process = line.recv(41, socket.MSG_WAITALL).decode(errors="replace").partition(" ")
            except OSError:  # the server is closed
                return
            if secrets.compare_digest(given.encode(), token.encode()) and process.isdecimal():
                expected -= 1
                yield int(process), line


def _listen(process: int, line: socket.socket, lost_after: int) -> None:
    """Thread: end the process when a connection breaks unexpectedly."""
    line.settimeout(None)
    with contextlib.suppress(OSError):
        line.recv(1)
    if process == 0 and not _parting:  # it holds the store, which can no longer be read, and it parts only when all do
        _end(process, lost_after)
    time.sleep(AT_ONCE)  # both processes may be ending in order
    if not _parting and not _has_parted(process):
        _end(process, lost_after)


def _has_parted(process: int) -> bool:
    try:
        return distributed.global_state.client.key_value_try_get(f"{ALIVE}{process}") == PARTED  # type: ignore[union-attr]
    except (RuntimeError, AttributeError):
        return False


def _end(lost: int, lost_after: int) -> None:
    state = distributed.global_state
    signals.leave(
        1,
        f"Process {lost} of {state.num_processes} is lost (its connection ended, or no sign of life for {lost_after} s), so process "
        f"{state.process_id} ends, too. Start all again: the run goes on from its last checkpoint.",
    )


def _abort_late() -> None:
    """Delay this process's abort() by six seconds, so that `_watch` can say why.

    The store lives in the first process.  If it is killed, jax's client aborts the others at once.  So the handler of SIGABRT becomes
    libc's sleep: the system calls it with the signal's number, 6, and it needs no Python.
    """
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    libc.signal(signal.SIGABRT, ctypes.cast(libc.sleep, ctypes.c_void_p))
