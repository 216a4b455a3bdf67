"""Processes that start in tenths of a second: forked from one that has imported what they need, and has not begun to compute."""

import multiprocessing
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.training.program"])


class Forked:
    """`main(argv)` in a process of its own, with what tests use of subprocess.Popen; a few lines of text may wait to be read."""

    def __init__(self, main: Callable[[Sequence[str]], None], argv: Sequence[str], environment: Mapping[str, str]):
        (printed, out), (said, err) = (_context.Pipe(duplex=False) for _ in range(2))
        self._process = _context.Process(target=_run, args=(main, argv, dict(environment), out, err), daemon=True)
        self._process.start()
        self.stdout, self.stderr = (os.fdopen(os.dup(pipe.fileno()), encoding="utf-8") for pipe in (printed, said))
        for pipe in (printed, out, said, err):
            pipe.close()

    @property
    def returncode(self) -> int | None:
        """The exit code, or that of a signal below 0; None until the process has ended."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal to a process that has not ended."""
        if self._process.is_alive():
            os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End the process as kill -9 does."""
        self._process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end; return what is left to be read of stdout, and of stderr."""
        self._process.join(timeout)
        if self._process.is_alive():
            raise subprocess.TimeoutExpired("forked", timeout)
        if self.stdout.closed:
            return "", ""
        with self.stdout, self.stderr:
            return self.stdout.read(), self.stderr.read()


def _run(main: Callable[[Sequence[str]], None], argv: Sequence[str], environment: dict[str, str], out: Connection, err: Connection) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    main(argv)
