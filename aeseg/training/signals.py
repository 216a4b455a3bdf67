"""Signals: a process that receives one saves if it can and ends within seconds, with exit code 128 + the signal's number.

SIGTERM is a cluster's notice, SIGINT is Ctrl-C.  Python runs a signal's handler only between two bytecodes of the main thread, and
compilation can block that thread for minutes.  So a second thread ends the process if the main thread does not react in time.  This
loses nothing: every file is written completely or not at all, and the last checkpoint stays.
"""

import contextlib
import math
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

HEARD = (signal.SIGTERM, signal.SIGINT)
PATIENCE = 10.0
"""Seconds in which the main thread must react or end."""

AT_ONCE = 0.5
"""Seconds in which a second Ctrl-C is an echo of the first (a launcher and a terminal each send one)."""


class Stopped(SystemExit):
    """Raised in the main thread by the first signal; `code` is the exit code, 128 + the signal's number."""

    def __init__(self, number: int):
        super().__init__(128 + number)


class _Listener:
    """The received signal, and the current reaction."""

    def __init__(self, leaves: Callable[[], bool]) -> None:
        self.number, self.when, self.leaves = 0, 0.0, leaves
        self.raises, self.limit, self.since = True, PATIENCE, time.monotonic()

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal, in the main thread."""
        first = not self.number
        self.number = self.number or number
        if first and self.raises:
            if self.leaves():
                leave(128 + number, "Stopped. The same command continues from the last checkpoint.")
            raise Stopped(number)

    def watch(self, pipe: socket.socket) -> None:
        """Thread: read the signals that Python's C handler writes to the pipe, whatever the main thread does."""
        heard = 0
        pipe.settimeout(0.1)
        while True:
            with contextlib.suppress(TimeoutError):
                numbers = pipe.recv(64)
                if not numbers:
                    return
                for number in numbers:
                    if number not in HEARD:
                        continue
                    if not heard:
                        heard, self.when = number, time.monotonic()
                    elif number == signal.SIGINT and time.monotonic() - self.when > AT_ONCE:
                        leave(128 + heard, "Interrupted twice: ended at once. The same command continues from the last checkpoint.")
            if heard and time.monotonic() - max(self.when, self.since) > self.limit:
                text = f"Ended {self.limit:.0f} s after {signal.Signals(heard).name}, during something long (compiling, loading)."
                leave(128 + heard, f"{text} The same command continues from the last checkpoint.")


_listener: _Listener | None = None


@contextlib.contextmanager
def listening(leaves: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Listen inside this context: the first SIGTERM or SIGINT raises Stopped in the main thread; the process ends after PATIENCE seconds.

    Outside `reacting` there is nothing to save: if `leaves()`, the process ends at once.  An exception could meet code that cannot pass
    it on, such as XLA's calls of Python, and abort the process.  A second Ctrl-C ends the process at once.  Inside another `listening`, or
    outside the main thread, this does nothing.
    """
    global _listener
    if _listener is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    _listener = listener = _Listener(leaves)
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    thread = threading.Thread(target=listener.watch, args=(reading,), name="aeseg-signals", daemon=True)
    thread.start()
    before = {number: signal.signal(number, listener.handle) for number in HEARD}
    wakeup = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        writing.close()
        thread.join()
        reading.close()
        _listener = None


def heard() -> int:
    """Return the first received signal, or 0."""
    return _listener.number if _listener else 0


@contextlib.contextmanager
def reacting(raises: bool, limit: float = PATIENCE) -> Iterator[None]:
    """Set the reaction inside this context: a signal raises Stopped or is only noted (`heard`); the process ends after `limit` seconds.

    The limit counts from the signal or from the start of this block, whichever is later; `math.inf` means no limit.  A block that
    raises first raises a signal that was noted before it.
    """
    if _listener is None:
        yield
        return
    before = _listener.raises, _listener.limit, _listener.leaves
    _listener.raises, _listener.limit, _listener.since = raises, limit, time.monotonic()
    _listener.leaves = lambda: False
    try:
        if raises and _listener.number:
            raise Stopped(_listener.number)
        yield
    finally:
        _listener.raises, _listener.limit, _listener.leaves = before
        _listener.since = time.monotonic()


@contextlib.contextmanager
def unhurried() -> Iterator[None]:
    """Only note a signal inside this context, for saving; only a second Ctrl-C ends the process."""
    with reacting(raises=False, limit=math.inf):
        yield


def leave(code: int, text: str = "") -> None:
    """End the process and its worker processes at once, without waiting."""
    with contextlib.suppress(RuntimeError, OSError, ValueError):  # a signal may have come during another write
        sys.stdout.flush()
    if text:
        cursor = "\x1b[?25h" if sys.stderr.isatty() else ""  # a progress bar hides the cursor
        os.write(2, f"{cursor}\n{text}\n".encode())
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(code)
