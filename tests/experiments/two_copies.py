"""Two threads that stand for two processes: a lock is of its open file."""

import contextlib
import threading

from experiments.machine import commands


def run(monkeypatch, copy, call):
    """Run `copy` twice at once, with `call` in place of `commands.call`."""
    monkeypatch.setattr(commands, "ended_together", contextlib.nullcontext)  # its signals are the main thread's
    monkeypatch.setattr(commands, "PAUSE", 0.05)
    monkeypatch.setattr(commands, "call", call)
    copies = [threading.Thread(target=copy) for _ in range(2)]
    for each in copies:
        each.start()
    for each in copies:
        each.join()
