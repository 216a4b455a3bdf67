"""aeseg/training/lock.py: one run at a time, and a dead run has no lock."""

import errno
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from aeseg.training import lock
from aeseg.types import UserError

HOLD = """
import sys, time
from aeseg.training import lock
with lock.held(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other(tmp_path):
    """Start another process that locks the workdir."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_run_is_refused_with_host_and_process_until_the_first_is_dead(tmp_path, other):
    expected = rf"in use by process {other.pid} on host '{re.escape(socket.gethostname())}' .*name another --workdir"
    with pytest.raises(UserError, match=expected), lock.held(str(tmp_path)):
        pass
    other.send_signal(signal.SIGKILL)
    other.wait()
    with lock.held(str(tmp_path)):
        assert json.loads((tmp_path / "lock").read_text())["process"] == os.getpid()


def test_a_lock_is_released_and_taken_again(tmp_path):
    for _ in range(2):
        with lock.held(str(tmp_path / "new")), pytest.raises(UserError, match=f"process {os.getpid()}"), lock.held(str(tmp_path / "new")):
            pass


@pytest.mark.parametrize("contents", [b"", b"\0\0", b"3", b'{"host": 1}', b"[" * 2000])
def test_an_unsigned_lock_is_respected(tmp_path, contents):
    (tmp_path / "lock").write_bytes(contents)
    with open(tmp_path / "lock") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="in use by another process"), lock.held(str(tmp_path)):
            pass


def test_links_and_pipes_in_place_of_the_lock_are_not_followed_or_waited_for(tmp_path):
    (tmp_path / "precious").write_text("precious")
    for name in ("link", "folder", "file"):
        (tmp_path / name).mkdir()
    (tmp_path / "link" / "lock").symlink_to(tmp_path / "precious")
    (tmp_path / "folder" / "lock").mkdir()
    for name in ("link", "folder", "file/" + "x" * 300):
        with pytest.raises(UserError, match="Cannot write to"), lock.held(str(tmp_path / name)):
            pass
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_file_system_without_locks_is_reported(tmp_path, monkeypatch):
    def refuse(file, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    said = []
    with lock.held(str(tmp_path), said.append):
        assert "has no locks (No locks available)" in said[0]


@pytest.mark.parametrize("workdir", ["gs://bucket/run", "s3://bucket/run", "file:///tmp/run", "gs:/bucket/run"])
def test_a_remote_workdir_is_refused_and_nothing_is_created(tmp_path, monkeypatch, workdir):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"Expected a folder of this machine; got .*Mount the store"), lock.held(workdir):
        pass
    assert os.listdir(tmp_path) == []
