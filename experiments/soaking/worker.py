"""A process that trains runs and executes commands for `soak`, one after another, and keeps its compiled programs.

    with Worker(log) as worker:
        answer = worker.ask({"do": "train", "config": text, "workdir": path}, seconds=60)

The fields of an answer are `code` (2: refused with a sentence), `said` (stderr), `printed` (stdout), `traceback` ("" if none), `seconds`
and `megabytes` (growth of the peak memory).
"""

import contextlib
import glob
import importlib
import io
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

from aeseg.training import memory

from .. import module

Answer = dict[str, Any]

MEMORY = 12 * 2**30
"""Bytes of address space that the worker may add.  An unbounded allocation raises MemoryError before the machine is out of memory."""


class Lost(Exception):
    """The worker died or did not answer in time; the message says which."""


class Clock:
    """Seconds of a process from now on, without its waits for a core, so that a busy machine causes no failure."""

    def __init__(self, pid: int):
        self._pid, self._began, self._waited = pid, time.monotonic(), _waited(pid)

    def seconds(self) -> float:
        """Return the seconds so far."""
        return time.monotonic() - self._began - max(0.0, _waited(self._pid) - self._waited)


def _waited(pid: int) -> float:
    """Return the longest wait for a core of a process's threads, in seconds; 0 if the system does not report it."""
    waits = [0.0]
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
            waits.append(int(file.read().split()[1]) / 1e9)
    return max(waits)


class Worker:
    """The client's side.  The process starts with the first job, and restarts after its death."""

    def __init__(self, log: str, environment: Mapping[str, str] | None = None):
        self._log, self._environment = log, {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._answers, self._unread = -1, b""

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Return the id of the process, or 0 if it does not run."""
        return self._process.pid if self._process else 0

    def ask(self, job: Mapping[str, Any], seconds: float) -> Answer:
        """Return the answer to a job; raise Lost if no answer comes."""
        self.give(job)
        return self.answer(seconds)

    def give(self, job: Mapping[str, Any]) -> None:
        """Send a job without waiting for its answer."""
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # `answer` reports that it is dead
            self._process.stdin.write(json.dumps(dict(job)).encode() + b"\n")
            self._process.stdin.flush()

    def answered(self, seconds: float = 0.0) -> bool:
        """Return whether the worker answers or ends within `seconds`."""
        return b"\n" in self._unread or bool(select.select([self._answers], [], [], seconds)[0])

    def answer(self, seconds: float) -> Answer:
        """Return the answer to the job that `give` sent; raise Lost if no answer comes."""
        clock = Clock(self.pid)
        while b"\n" not in self._unread:
            if not self.answered(min(1.0, max(0.0, seconds - clock.seconds()))):
                if clock.seconds() < seconds:
                    continue
                self.kill()
                raise Lost(f"no answer in {seconds:.0f} s: it was killed")
            if not (part := os.read(self._answers, 2**16)):
                assert self._process is not None
                code = self._process.wait()
                self.kill()
                raise Lost(f"it ended with {code if code >= 0 else signal.Signals(-code).name}")
            self._unread += part
        line, _, self._unread = self._unread.partition(b"\n")
        return dict(json.loads(line))

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the process inside the block: the disk is as kill -9 would leave it at this moment."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        os.close(self._answers)
        self._process, self._unread = None, b""

    def _start(self) -> None:
        self._answers, writing = os.pipe()
        os.makedirs(os.path.dirname(self._log) or ".", exist_ok=True)
        with open(self._log, "ab") as log:
            command = [sys.executable, "-m", module("soaking.worker"), str(writing)]
            self._process = subprocess.Popen(
                command, env=self._environment, stdin=subprocess.PIPE, stdout=log, stderr=log, pass_fds=(writing,)
            )
        os.close(writing)


class _Jobs:
    """The process's side."""

    def __init__(self) -> None:
        from aeseg.runs.programs import Programs

        self._programs = Programs()

    def train(self, job: Mapping[str, Any]) -> int:
        """Train or resume the run of a config, with files of at most `limit` bytes if it is given."""
        from aeseg import spec
        from aeseg.runs.train import train

        run = spec.build_run(spec.from_json(job["config"]))
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        if "limit" in job:
            self._programs.initial(run)  # compiled before: the limit would cut its cache file
            resource.setrlimit(resource.RLIMIT_FSIZE, (job["limit"], before[1]))  # Python ignores SIGXFSZ: writing fails
        try:
            return 0 if train(run, job["workdir"], programs=self._programs).finished else 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    def command(self, job: Mapping[str, Any]) -> int:
        """Execute a command of experiments/ as its command line does."""
        code = importlib.import_module(module(job["module"])).run([job["module"], *job["argv"]])
        return int(code or 0)


def _answered(jobs: _Jobs, job: Mapping[str, Any]) -> Answer:
    from ..console import cli

    before, began, trace = _peak(), time.monotonic(), ""
    printed, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
        try:
            code = cli.guarded(lambda _: getattr(jobs, job["do"])(job), [])
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 2
        except BaseException:
            code, trace = 1, traceback.format_exc()
    spent = {"seconds": round(time.monotonic() - began, 2), "megabytes": _peak() - before}
    return {"code": code, "said": said.getvalue()[-4000:], "printed": printed.getvalue()[-4000:], "traceback": trace[-4000:], **spent}


def _peak() -> int:
    """Return the peak memory of this process in megabytes."""
    return memory.peak() // 2**20


def _bound_memory() -> None:
    with open("/proc/self/statm", encoding="ascii") as file:
        present = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (present + MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))


def main(answers: int) -> None:
    """Answer each line of stdin with one line in the file descriptor `answers`."""
    from ..machine import process

    process.start()
    jobs = _Jobs()
    if os.path.exists("/proc/self/statm"):
        _bound_memory()
    for line in sys.stdin.buffer:
        os.write(answers, json.dumps(_answered(jobs, json.loads(line))).encode() + b"\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
