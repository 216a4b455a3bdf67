"""Copies of a command that share its work, and the job array that starts them on a cluster.

Each copy takes a row, trial or run that no other copy runs, under a lock that the system releases when its owner ends, and waits for
results of other copies that it needs.  `submit` starts all copies with submitit, which writes one SLURM job array.
"""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from aeseg.types import UserError

from .. import module
from . import commands

CLUSTERS = ("slurm", "local", "debug")

OPTIONS = {
    "copies": (
        1,
        "number of processes that share the work: run this command as often, on machines that see the same folders, or set --cluster",
    ),
    "cluster": ("", f"start the copies on a cluster of submitit: {', '.join(CLUSTERS)}; then its parameters, as timeout_min=240 mem_gb=16"),
}
"""Flags of commands whose work copies can share."""

MINUTES = 60
"""Default time limit of a job of the array; a job that reaches it saves and is queued again."""

QUEUED_AGAIN = 10_000
"""Number of times that a job may reach its time limit."""


IGNORING_USR2 = 'trap "" USR2; exec "$@"'
"""Runs a command that ignores submitit's signal: SLURM sends it to every process of a job, and it ends processes without a handler."""


class Copy:
    """The task of a job: run a command line; before the time limit, let it save, and queue it again."""

    def __init__(self, line: Sequence[str]):
        self.line = tuple(line)

    def __call__(self, number: int) -> None:
        """Run the command line; UserError if it fails."""
        self.process = subprocess.Popen(["sh", "-c", IGNORING_USR2, "sh", *self.line])
        while (code := self.process.poll()) is None:
            time.sleep(0.2)
        if code:
            raise UserError(f"copy {number} ended with exit code {code}; its output is in the job's log")

    def checkpoint(self, number: int) -> Any:
        """Let the command save and end; return the submission that continues it.  submitit calls this before the time limit."""
        from submitit.helpers import DelayedSubmission

        self.process.terminate()
        self.process.wait()
        return DelayedSubmission(Copy(self.line), number)


def submit(command: str, line: Sequence[str], cluster: str, number: int, folder: str) -> int:
    """Start `number` copies of a command as one job array of a cluster; return the exit code.

    line     the flags of the command, without --cluster
    cluster  "slurm" returns at once; "local" starts processes here, "debug" runs the copies one after another, and both wait
    folder   where scripts and logs are kept
    """
    name, *words = cluster.split() or [""]
    if name not in CLUSTERS or any(not re.fullmatch(r"\w+=\S+", word) for word in words):
        raise UserError(f"Expected {', '.join(CLUSTERS)}, then name=value of submitit's parameters; got --cluster={cluster!r}.")
    if number < 1:
        raise UserError(f"Expected --copies >= 1; got {number}.")
    try:
        import submitit
    except ImportError:
        raise UserError("--cluster needs submitit, which is not installed. Run pip install -e '.[cluster]'.") from None
    given = {key: int(value) if value.isdecimal() else value for key, value in (word.split("=", 1) for word in words)}
    try:
        executor = submitit.AutoExecutor(os.path.join(folder, "cluster"), cluster=name, slurm_max_num_timeout=QUEUED_AGAIN)
        executor.update_parameters(**{"name": f"aeseg-{command}", "timeout_min": MINUTES, **given})
        task = Copy([sys.executable, "-m", module(command), *line])
        jobs = executor.map_array(task, range(number))
    except (NameError, RuntimeError, TypeError, submitit.core.utils.FailedJobError) as error:
        raise UserError(f"{name} refused the jobs: {error}. Change --cluster.") from error
    ids = jobs[0].job_id.partition("_")[0] if name == "slurm" else " ".join(job.job_id for job in jobs)
    commands.say(f"Submitted {number} copies of {command}: {name} {ids}; their logs: {executor.folder}")
    return 0 if name == "slurm" else ended(jobs)


def ended(jobs: Sequence[Any]) -> int:
    """Wait for all jobs; print why some failed; return 1 if any did.  An interruption ends the jobs."""
    try:
        errors = [job.exception() for job in jobs]
    except BaseException:
        for job in jobs:
            job.cancel()
        raise
    failed = [str(error) for error in errors if error is not None]
    for text in failed:  # submitit gives the job's traceback as text
        print(next(iter(re.findall("UserError: (.*)", text)), text), file=sys.stderr)
    return int(bool(failed))


def each(tasks: Iterable[tuple[str, Callable[[], None]]], shared: bool) -> None:
    """Do all tasks, (path of its lock, function), in order; if `shared`, try tasks of other copies again later."""
    left = list(tasks)
    while left:
        busy = []
        for path, task in left:
            try:
                with commands.held(path) if shared else contextlib.nullcontext():
                    task()
            except commands.Busy:
                busy.append((path, task))
        if busy:
            time.sleep(commands.PAUSE)
        left = busy
