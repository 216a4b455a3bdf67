"""Lock of a workdir: one run at a time.

The lock is flock(2), which the kernel releases whenever its owner dies.  On NFS, Linux (since 2.6.12) sends it to the server as a lock
of the whole file, so it holds across hosts; a dead host keeps it until its lease ends (NFSv4: about 90 s).  If a file system has no
locks (Lustre mounted without `-o flock`), a warning is printed, and a second run is possible.
"""

import contextlib
import errno
import fcntl
import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np

from aeseg import files
from aeseg.types import UserError

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""Error numbers of a file system without locks."""


@contextlib.contextmanager
def held(workdir: str, say: Callable[[str], None] = lambda text: print(text, file=sys.stderr)) -> Iterator[None]:
    """Lock the workdir for this run inside the context; create it if it does not exist.

    Raises UserError if another run holds the lock, with its host and process.  With several processes, the first takes the lock for
    all, and all raise if it fails.
    """
    check_local(workdir)
    file, error, lost = None, None, False
    try:
        if jax.process_index() == 0:
            file = _taken(workdir, say)
    except UserError as refused:
        error = refused
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        lost = bool(multihost_utils.broadcast_one_to_all(np.int32(error is not None)))
    if lost and error is None:
        error = UserError(f"The first process could not take {workdir}; it says why.")
    if error is not None:
        raise error
    try:
        yield
    finally:
        if file is not None:
            os.close(file)


def check_local(workdir: str) -> None:
    """Raise UserError for the address of a remote store: a run needs a file system with locks and renames."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://?", workdir):
        raise UserError(
            f"Expected a folder of this machine; got {workdir!r}. "
            "Mount the store (gcsfuse, s3fs, NFS) and name the mounted folder with --workdir."
        )


def _taken(workdir: str, say: Callable[[str], None]) -> int:
    """Lock the file and write this run's name into it; return its descriptor."""
    path = os.path.join(workdir, "lock")
    try:
        os.makedirs(workdir, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    except OSError as error:
        raise files.refusal(path, error) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            owner = _owner(file)
            os.close(file)
            if isinstance(error, BlockingIOError):
                raise UserError(
                    f"Expected a workdir that no other run is using; {workdir} is in use by {owner}. "
                    "Wait until it ends, end it, or name another --workdir."
                ) from None
            raise files.refusal(path, error) from error
        say(f"The file system of {workdir} has no locks ({error.strerror}): see to it that no second run uses it.")
    with contextlib.suppress(OSError):  # a full disk: the lock holds without a name
        os.ftruncate(file, 0)
        signed = {"host": socket.gethostname(), "process": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        os.pwrite(file, json.dumps(signed).encode(), 0)
    return file


def _owner(file: int) -> str:
    """Return the owner that a lock file names."""
    try:
        signed = json.loads(os.pread(file, 1000, 0))
        return f"process {int(signed['process'])} on host {str(signed['host'])[:80]!r} (since {str(signed['since'])[:20]})"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"
