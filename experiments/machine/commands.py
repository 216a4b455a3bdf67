"""Start commands, each with its part of the machine, error message, seconds and lock."""

import collections
import concurrent.futures
import contextlib
import fcntl
import math
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO, TypeVar

from aeseg import files
from aeseg.types import UserError

Task, Result = TypeVar("Task"), TypeVar("Result")

_running: set[subprocess.Popen[str]] = set()
"""Processes that `call` has started."""


PAUSE = 2.0
"""Seconds between two tries of a task that another process is running."""


RESERVE = 10.0
"""Seconds before a deadline at which commands are asked to end: a training run saves first."""
OVER = "the minutes are over; the same command continues"
"""The message of `Late`."""
STOPPED = (130, 143, -signal.SIGINT, -signal.SIGTERM)
"""Exit codes of commands that SIGINT or SIGTERM ended."""


class Busy(UserError):
    """Another process has locked the file."""


class Late(UserError):
    """The minutes are over."""


def deadline(minutes: float) -> float:
    """Return the time (of time.monotonic) after these minutes; infinity for 0.  Raise UserError for a negative number."""
    if minutes < 0:
        raise UserError(f"Expected minutes >= 0, where 0 has no limit; got {minutes:g}. Set --minutes.")
    return time.monotonic() + 60 * minutes if minutes else math.inf


def shares(jobs: int) -> list[dict[str, Any]]:
    """Return the resources of each of `jobs` concurrent runs: a part of the cores, and one GPU on a machine with GPUs."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    gpus = _gpus()
    most = len(gpus) or len(cores) or 1
    if not 1 <= jobs <= most:
        kind = "GPUs" if gpus else "cores"
        raise UserError(f"Expected --jobs of 1 to {most}, the {kind} of this machine; got {jobs}.")
    if jobs == 1:
        return [{"jobs": 1}]
    return [{"jobs": jobs, "cores": cores[slot::jobs], "gpu": gpus[slot] if gpus else ""} for slot in range(jobs)]


def take_share(jobs: int) -> None:
    """Limit this process to the resources of one of `jobs` runs; call it before JAX starts."""
    share = shares(jobs)[0]
    if share.get("cores"):
        os.sched_setaffinity(0, share["cores"])
    if share.get("gpu"):
        os.environ["CUDA_VISIBLE_DEVICES"] = share["gpu"]


def call(command: list[str], share: dict[str, Any], log: str = "", capture: bool = False, lock: int | None = None) -> str:
    """Run a command on its share of the machine; write its output to the log, or return it if `capture`; UserError if it fails.

    The command inherits the `lock` of `held`, so the lock lasts even if the command outlives this process.  RESERVE before the share's
    `deadline` (of time.monotonic) the command gets SIGTERM, and Late is raised; after it, no command starts.
    """
    left = share.get("deadline", math.inf) - RESERVE - time.monotonic()
    if left <= 0:
        raise Late(OVER)
    if share.get("cores"):
        os.sched_setaffinity(0, share["cores"])  # of this thread; the command inherits it
    environment = {**os.environ, **({"CUDA_VISIBLE_DEVICES": share["gpu"]} if share.get("gpu") else {})}
    messages: collections.deque[str] = collections.deque(maxlen=50)
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(_appended(log)) if log else None
        started = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE if capture else output,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            pass_fds=() if lock is None else (lock,),
        )
        process = stack.enter_context(started)
        _running.add(process)
        stack.callback(_running.discard, process)
        if left < math.inf:
            timer = threading.Timer(left, process.terminate)
            timer.start()
            stack.callback(timer.cancel)
        for line in process.stderr:  # type: ignore[union-attr]
            messages.append(line)
            print(line, end="", file=output or sys.stderr, flush=True)
        printed = process.stdout.read() if capture else ""  # type: ignore[union-attr]
        if process.wait():
            if time.monotonic() >= share.get("deadline", math.inf) - RESERVE:
                raise Late(OVER)
            ended = "Stopped" if process.returncode in STOPPED else "This failed"
            print(f"{ended}: {shlex.join(command)}", file=output or sys.stderr, flush=True)
            raise UserError(f"exit code {process.returncode}: {_reason(''.join(messages), process.returncode)} (see {log or 'above'})")
    return printed


@contextlib.contextmanager
def ended_together() -> Iterator[None]:
    """Inside the block, SIGTERM also ends the processes of `call`; training runs save first."""

    def end(number: int, frame: object) -> None:
        for process in tuple(_running):
            process.terminate()
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def timed(run: Callable[[], object], path: str) -> float:
    """Call `run`, append its seconds to the file, and return the sum of the file: interrupted earlier calls count too."""
    began = time.perf_counter()
    try:
        run()
    finally:
        if os.path.isdir(os.path.dirname(path)):
            files.append(path, f"{time.perf_counter() - began:.3f}\n".encode())
    return seconds(path)


def seconds(path: str) -> float:
    """Sum the seconds that `timed` recorded in the file."""
    if not os.path.exists(path):
        return 0.0
    with open(path, encoding="utf-8") as file:
        return sum(float(line) for line in file)


def say(line: str) -> None:
    """Print a line in one write, so that lines of concurrent runs do not mix."""
    print(f"{line}\n", end="", flush=True)


def run_all(
    jobs: int,
    following: Callable[[list[Task]], Task | None],
    run: Callable[[Task, dict[str, Any]], Result],
    settle: Callable[[Task, concurrent.futures.Future[Result]], None],
    waits: bool = False,
    deadline: float = math.inf,
) -> None:
    """Run tasks, `jobs` at once, each on a share of the machine, until none is left or the deadline (of time.monotonic) is near.

    following   returns the next task, given the running tasks; None if it must wait for one of them or none is left
    run         runs a task on its share, in a thread; raises Busy if another process is running it
    settle      receives an ended task and its future, in the caller's thread, before the next task begins
    waits       retry a busy task until it is free, as a running task for `following`, instead of settling it
    """
    free = [{**share, "deadline": deadline} for share in shares(jobs)]
    running: dict[concurrent.futures.Future[Result], tuple[Task, dict[str, Any]]] = {}
    busy: list[Task] = []
    with ended_together(), concurrent.futures.ThreadPoolExecutor(jobs) as pool:

        def begin(task: Task) -> None:
            share = free.pop(0)
            running[pool.submit(run, task, share)] = task, share

        while True:
            over = time.monotonic() >= deadline - RESERVE
            while not over and free and (task := following([*(each for each, _ in running.values()), *busy])) is not None:
                begin(task)
            if free and busy and not over:
                time.sleep(PAUSE / len(busy))
                begin(busy.pop(0))
            if not running:
                return
            ended, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in ended:
                task, share = running.pop(future)
                free.append(share)
                if waits and isinstance(future.exception(), Busy):
                    busy.append(task)
                else:
                    settle(task, future)


@contextlib.contextmanager
def held(path: str, shared: bool = False, wait: bool = False) -> Iterator[int]:
    """Lock a file inside the block; yield its descriptor; raise Busy if another process has locked it.

    shared  other processes may lock it, too, if they share it
    wait    wait for another process instead of raising Busy
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:  # NFS shares only locks of files that are open for reading
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            raise Busy("another process is running this; rerun the command after it for the rest") from None
        yield file.fileno()


def _gpus() -> list[str]:
    """Return the GPUs that a CUDA program would see, without starting one."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name]
    try:
        return [str(number) for number in range(len(os.listdir("/proc/driver/nvidia/gpus")))]
    except OSError:
        return []


def _reason(messages: str, code: int) -> str:
    """Return the end of a failed command's messages: the last paragraph if the user can fix the error (code 2), else the last line."""
    return " ".join(messages.strip().rpartition("\n\n" if code == 2 else "\n")[2].split())


def _appended(path: str) -> TextIO:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return open(path, "a", encoding="utf-8")
