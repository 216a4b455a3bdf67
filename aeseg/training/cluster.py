"""Several processes that train one model: they join, and all end if one is lost.

jax.distributed also detects a lost process, but aborts with a C++ stack trace that does not name it.  So each process counts up in the
job's key-value store, its heartbeat, and a thread reads the heartbeats of the others.  Each process also has a connection to the first,
which closes when either process ends.
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

from aeseg.training import roll_call, signals
from aeseg.types import UserError

LOST_AFTER = 30
"""Seconds without a heartbeat after which a process counts as lost."""

PERIOD = 1.0
"""Seconds between two heartbeats."""

ALIVE = "aeseg/alive/"
"""Prefix of the heartbeats' keys in the store."""

ADDRESS = "aeseg/address"
"""Key of the first process's port, and of the token that the others send to it."""

GRACE = 0.5
"""Seconds from the end of a connection to the end of this process, unless the other process announces its end meanwhile."""

PARTED = "parted"
"""Last heartbeat of a process that ends normally."""

_parting = False
_waits = LOST_AFTER


def join(lost_after: int = LOST_AFTER, start_within: int = 300, **address: Any) -> None:
    """Join the other processes of this job; `address` has the arguments of jax.distributed.initialize that no cluster gives.

    If a process is lost, the others exit with 1 within about `lost_after` seconds, with a message that names it.  If a process does not
    start, the others exit likewise after `start_within` seconds.  The environment variables AESEG_LOST_AFTER and AESEG_START_WITHIN
    override both numbers.
    """
    lost_after = int(os.environ.get("AESEG_LOST_AFTER", lost_after))
    # jax's handler of SIGTERM would replace ours (aeseg/training/signals.py).
    jax.config.update("jax_enable_preemption_service", False)
    start_within = int(os.environ.get("AESEG_START_WITHIN", start_within))
    call = roll_call.begin(address)
    # jax would abort with a C++ stack trace.
    late = threading.Timer(start_within, lambda: signals.leave(1, roll_call.message(call, start_within)))
    late.daemon = True
    late.start()
    jax.distributed.initialize(
        heartbeat_timeout_seconds=2 * lost_after,  # later than ours
        shutdown_timeout_seconds=lost_after,
        initialization_timeout=2 * start_within,
        **address,
    )
    late.cancel()
    if call is not None:
        call.close()
    _abort_late()
    connections = _connections(lost_after)
    atexit.register(part)
    threading.Thread(target=_watch, args=(lost_after,), name="aeseg-cluster", daemon=True).start()
    for process, connection in connections:
        threading.Thread(target=_listen, args=(process, connection, lost_after), name=f"aeseg-cluster-{process}", daemon=True).start()


@contextlib.contextmanager
def losses_explained() -> Iterator[None]:
    """After a device error inside the block, wait: if a process is lost, this one ends with the reason; else the error is raised."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:  # dispatching raises a failed collective as a ValueError
        if jax.process_count() > 1 and not isinstance(error, UserError):
            time.sleep(_waits + 2 * PERIOD)
        raise


def is_alone() -> bool:
    """Return whether this process has not joined others."""
    return not jax.distributed.is_initialized()


def part() -> None:
    """Leave the other processes normally; wait until they leave, too."""
    global _parting
    if not is_alone() and not _parting:
        _parting = True
        state: Any = distributed.global_state
        state.client.key_value_set(f"{ALIVE}{state.process_id}", PARTED, allow_overwrite=True)
        jax.distributed.shutdown()


def _watch(lost_after: int) -> None:
    """Thread: send heartbeats; end this process if another has sent none for `lost_after` seconds, or the store is gone."""
    state: Any = distributed.global_state
    seen: dict[int, tuple[str | None, float]] = {}
    began, number = time.monotonic(), 0
    while state.client is not None and not _parting:
        try:
            state.client.key_value_set(f"{ALIVE}{state.process_id}", str(number), allow_overwrite=True)
            heartbeats = dict(state.client.key_value_dir_get(ALIVE))
        except (RuntimeError, AttributeError):
            if _parting:
                return
            _end(0, lost_after)
        now, number = time.monotonic(), number + 1
        for process in range(state.num_processes):
            value = heartbeats.get(f"{ALIVE}{process}")
            if process not in seen or seen[process][0] != value:
                seen[process] = value, now
            elif now - max(began, seen[process][1]) > lost_after:
                _end(process, lost_after)
        time.sleep(PERIOD)


def _connections(lost_after: int) -> list[tuple[int, socket.socket]]:
    """Return (process, connection): the first process has one to each other process, and the others one to the first.

    A connection closes as soon as its process ends.  Without connections (a firewall), only heartbeats detect a lost process.
    """
    global _waits
    _waits = lost_after
    state: Any = distributed.global_state
    host = state.coordinator_address.rpartition(":")[0]
    if state.process_id == 0:
        server = socket.create_server(("", 0))
        token = secrets.token_hex(16)
        state.client.key_value_set(ADDRESS, f"{server.getsockname()[1]} {token}")
        server.settimeout(10)
        return list(_accepted(server, token, state.num_processes - 1))
    port, token = state.client.blocking_key_value_get(ADDRESS, 10_000).split()
    try:
        connection = socket.create_connection((host.strip("[]"), int(port)), timeout=10)
        connection.sendall(f"{token} {state.process_id:08d}".encode())
    except OSError:
        return []
    return [(0, connection)]


def _accepted(server: socket.socket, token: str, expected: int) -> Iterator[tuple[int, socket.socket]]:
    """Yield (process, connection) of each process that sends the token."""
    with server:
        while expected:
            try:
                connection, _ = server.accept()
                connection.settimeout(5)
                given, _, process = connection.recv(41, socket.MSG_WAITALL).decode(errors="replace").partition(" ")
            except OSError:  # no further process connects
                return
            if secrets.compare_digest(given.encode(), token.encode()) and process.isdecimal():
                expected -= 1
                yield int(process), connection


def _listen(process: int, connection: socket.socket, lost_after: int) -> None:
    """Thread: end this process if a connection closes before the other process has announced its end."""
    connection.settimeout(None)
    with contextlib.suppress(OSError):
        connection.recv(1)
    if process == 0 and not _parting:  # process 0 holds the store, which is gone, and leaves only after all others
        _end(process, lost_after)
    time.sleep(GRACE)  # both processes may be ending normally
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
        f"Process {lost} of {state.num_processes} is lost (its connection ended, or no heartbeat for {lost_after} s), so process "
        f"{state.process_id} ends, too. Start all processes again: the run continues from its last checkpoint.",
    )


def _abort_late() -> None:
    """Delay this process's abort() by six seconds, so that `_watch` can print the reason.

    The first process holds the store.  When it is killed, jax's client aborts the other processes at once.  So libc's sleep handles
    SIGABRT: the system calls it with the signal's number, 6, and it needs no Python.
    """
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    libc.signal(signal.SIGABRT, ctypes.cast(libc.sleep, ctypes.c_void_p))
