"""One run at a time in a workdir.

The lock is flock(2): the kernel releases it when its owner dies, for any reason.  On NFS, Linux sends it to the server as a lock of the
complete file (since 2.6.12), so it works across hosts; a host that dies keeps it until its lease ends (NFSv4: about 90 s).  On a file
system without locks (Lustre mounted without `-o flock`), a message says so, and nothing stops a second run.
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
"""Errors of a file system without locks."""

LONGEST_PATH = 3000
"""Longest path of a workdir, in characters: systems allow 4,096 bytes, and names of checkpoints need some hundreds."""


@contextlib.contextmanager
def held(workdir: str, say: Callable[[str], None] = lambda text: print(text, file=sys.stderr)) -> Iterator[None]:
    """Lock a workdir for one run inside the block; create it if necessary.

    Raises UserError if another run has locked it, with its host and process.  The first of several processes locks it for all; all raise
    if it cannot.
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
        error = UserError(f"The first process could not lock {workdir}; its message gives the reason.")
    if error is not None:
        raise error
    try:
        yield
    finally:
        if file is not None:
            os.close(file)


def check_local(workdir: str) -> None:
    """Raise UserError unless `workdir` can be a local folder: a run needs locks and renames, which remote stores lack."""
    if "\0" in workdir or len(os.path.abspath(workdir)) > LONGEST_PATH:
        raise UserError(
            f"Expected the path of a folder, without zero bytes and of at most {LONGEST_PATH:,} characters; got {ascii(workdir)[:60]}. "
            "Set --workdir."
        )
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://?", workdir):
        raise UserError(
            f"Expected a folder of this machine; got {workdir!r}. "
            "Mount the store (gcsfuse, s3fs, NFS) and name the mounted folder with --workdir."
        )


def _taken(workdir: str, say: Callable[[str], None]) -> int:
    """Lock a workdir's lock file, and write the owner into it; return its descriptor."""
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
                    "Wait until it ends, stop it, or name another --workdir."
                ) from None
            raise files.refusal(path, error) from error
        say(f"The file system of {workdir} has no locks ({error.strerror}): make sure that no second run uses it.")
    with contextlib.suppress(OSError):  # on a full disk, the lock holds without its owner's name
        os.ftruncate(file, 0)
        signature = {"host": socket.gethostname(), "process": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        os.pwrite(file, json.dumps(signature).encode(), 0)
    return file


def _owner(file: int) -> str:
    """Return the owner that a lock file names."""
    try:
        signature = json.loads(os.pread(file, 1000, 0))
        return f"process {int(signature['process'])} on host {str(signature['host'])[:80]!r} (since {str(signature['since'])[:20]})"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"
