"""Signals: a process that is asked to stop saves what it can and ends within seconds, with 128 + the signal's number.

SIGTERM is a cluster's notice, SIGINT is Ctrl-C.  Python runs a signal's handler only between two bytecodes of the main thread, which
a compilation keeps for minutes; so a thread watches, too, and ends the process where the main thread does not react in time.  That
loses nothing: every file is written whole or not at all, and the last checkpoint stays.
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
from collections.abc import Iterator
from types import FrameType

HEARD = (signal.SIGTERM, signal.SIGINT)
PATIENCE = 10.0
"""Seconds in which the main thread must react, or come to its end."""

AT_ONCE = 0.5
"""Seconds: a second Ctrl-C within them is the first one's echo (a launcher and a terminal send one each)."""


class Stopped(SystemExit):
    """Raised in the main thread by the first signal; `code` is the exit code, 128 + the signal's number."""

    def __init__(self, number: int):
        super().__init__(128 + number)


class _Listener:
    """What was heard, and how to react to it now."""

    def __init__(self) -> None:
        self.number, self.when = 0, 0.0
        self.raises, self.limit, self.since = True, PATIENCE, time.monotonic()

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The handler, in the main thread."""
        first = not self.number
        self.number = self.number or number
        if first and self.raises:
            raise Stopped(number)

    def watch(self, pipe: socket.socket) -> None:
        """The thread: what Python's C handler wrote to the pipe, at once, whatever the main thread does."""
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
                        leave(128 + heard, "Interrupted twice: ended at once. The same command goes on from the last checkpoint.")
            if heard and time.monotonic() - max(self.when, self.since) > self.limit:
                text = f"Ended {self.limit:.0f} s after {signal.Signals(heard).name}, in the midst of something long (compiling, loading)."
                leave(128 + heard, f"{text} The same command goes on from the last checkpoint.")


_listener: _Listener | None = None


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Inside, the first SIGTERM or SIGINT raises Stopped in the main thread, and PATIENCE seconds later the process ends.

    A second Ctrl-C ends it at once.  Does nothing inside another `listening`, or in another thread than the main one.
    """
    global _listener
    if _listener is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    _listener = listener = _Listener()
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
    """The first signal that was heard; 0 if none was."""
    return _listener.number if _listener else 0


@contextlib.contextmanager
def reacting(raises: bool, limit: float = PATIENCE) -> Iterator[None]:
    """Inside, a signal raises Stopped at once or is only noted (`heard`), and the process ends `limit` seconds later.

    The limit counts from the signal or from the beginning of this block, whichever is later; `math.inf` sets none.  A signal that was
    noted before a block that raises is raised at its beginning.
    """
    if _listener is None:
        yield
        return
    before = _listener.raises, _listener.limit
    _listener.raises, _listener.limit, _listener.since = raises, limit, time.monotonic()
    try:
        if raises and _listener.number:
            raise Stopped(_listener.number)
        yield
    finally:
        _listener.raises, _listener.limit = before
        _listener.since = time.monotonic()


@contextlib.contextmanager
def unhurried() -> Iterator[None]:
    """Inside, which is where something is saved, a signal is only noted, and only a second Ctrl-C ends the process."""
    with reacting(raises=False, limit=math.inf):
        yield


def leave(code: int, text: str = "") -> None:
    """End the process now, with its worker processes, and wait for nothing and nobody."""
    if text:
        cursor = "\x1b[?25h" if sys.stderr.isatty() else ""  # a progress bar hides it
        os.write(2, f"{cursor}\n{text}\n".encode())
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(code)
