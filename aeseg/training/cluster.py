"""Several processes that train one model: how they find one another, and what becomes of them when one is lost.

jax.distributed notices a lost process, too, but then aborts with a stack of C++ and names nobody.  So each process here writes a
number that counts up into the job's key-value store, and a thread reads the others'; and each holds a connection to the first,
which ends when either of them does.
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
"""Seconds without a sign of life after which a process counts as lost."""

PERIOD = 1.0
"""Seconds between two signs of life."""

ALIVE = "aeseg/alive/"
"""Where the signs of life stand in the store."""

LINE = "aeseg/line"
"""Where the first process says which port it listens at, and the token that the others give there."""

AT_ONCE = 0.5
"""Seconds between the end of a connection and the end of this process, for one that parts in order meanwhile."""

_parting = False
_waits = LOST_AFTER

PARTED = "parted"
"""The last sign of a process that ends in order."""


def join(lost_after: int = LOST_AFTER, start_within: int = 300, **address: Any) -> None:
    """Join the other processes of this job; `address` is what jax.distributed.initialize takes where no cluster says it.

    A process that is lost ends the others within about `lost_after` seconds, with exit code 1 and one sentence that names it.  So
    does one that never comes, after `start_within` seconds.  The environment variables AESEG_LOST_AFTER and AESEG_START_WITHIN override
    both.
    """
    lost_after = int(os.environ.get("AESEG_LOST_AFTER", lost_after))
    # jax's own handler of SIGTERM would take the place of ours (aeseg/training/signals.py).
    jax.config.update("jax_enable_preemption_service", False)
    start_within = int(os.environ.get("AESEG_START_WITHIN", start_within))
    call = roll_call.begin(address)
    # jax would abort with a stack of C++.
    late = threading.Timer(start_within, lambda: signals.leave(1, roll_call.told(call, start_within)))
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
    lines = _lines(lost_after)
    atexit.register(part)
    threading.Thread(target=_watch, args=(lost_after,), name="aeseg-cluster", daemon=True).start()
    for process, line in lines:
        threading.Thread(target=_listen, args=(process, line, lost_after), name=f"aeseg-cluster-{process}", daemon=True).start()


@contextlib.contextmanager
def losses_explained() -> Iterator[None]:
    """Inside, an error of the device waits for a lost process to be noticed, which ends this one and says why; else it is raised."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:  # dispatching raises a failed collective as a ValueError
        if jax.process_count() > 1 and not isinstance(error, UserError):
            time.sleep(_waits + 2 * PERIOD)
        raise


def part() -> None:
    """Let go of the other processes in order; waits for them to do so, too."""
    global _parting
    if jax.distributed.is_initialized() and not _parting:
        _parting = True
        state: Any = distributed.global_state
        state.client.key_value_set(f"{ALIVE}{state.process_id}", PARTED, allow_overwrite=True)
        jax.distributed.shutdown()


def _watch(lost_after: int) -> None:
    """The thread: counts up, and ends the process when another has not for so many seconds or the store is gone."""
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
    """(process, connection) of those that this one is connected with: the first with all, the others with the first.

    A connection ends when its process does, at once.  Where none can be made (a firewall), signs of life alone are left.
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
    """The connections of those that know the token."""
    with server:
        while expected:
            try:
                line, _ = server.accept()
                line.settimeout(5)
                given, _, process = line.recv(41, socket.MSG_WAITALL).decode(errors="replace").partition(" ")
            except OSError:  # nobody more comes
                return
            if secrets.compare_digest(given.encode(), token.encode()) and process.isdecimal():
                expected -= 1
                yield int(process), line


def _listen(process: int, line: socket.socket, lost_after: int) -> None:
    """The thread: ends the process when a connection ends that was not said to."""
    line.settimeout(None)
    with contextlib.suppress(OSError):
        line.recv(1)
    if process == 0 and not _parting:  # it holds the store: no more may be asked there, and it parts only when all do
        _end(process, lost_after)
    time.sleep(AT_ONCE)  # both may be ending in order
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

    The store lives in the first process.  When that is killed, jax's client in the others aborts at once.  The handler of SIGABRT is
    made libc's sleep, which the system calls with the signal's number, 6, and which needs nothing of Python.
    """
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    libc.signal(signal.SIGABRT, ctypes.cast(libc.sleep, ctypes.c_void_p))
