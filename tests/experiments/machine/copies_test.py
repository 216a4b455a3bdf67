"""experiments/machine/copies.py: copies run as one job array, save before the time limit, and what fails is said."""

import json
import os
import pathlib
import re
import signal
import sys
import threading
import time

import pytest

from aeseg.types import UserError
from experiments.machine import commands, copies

COPIED = """
import os, pathlib, sys
if sys.argv[2:] == ["--fail"]:
    sys.exit(3)
pathlib.Path(sys.argv[1], str(os.getpid())).touch()
"""


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A command that leaves a file named by its process in a folder; returns (the folder, a folder for logs)."""
    (tmp_path / "copied.py").write_text(COPIED)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.getcwd()]))
    monkeypatch.setattr(copies, "module", lambda name: name)
    (tmp_path / "left").mkdir()
    return tmp_path / "left", str(tmp_path / "logs")


@pytest.mark.parametrize("cluster", ["local", "debug timeout_min=5"])
def test_so_many_copies_run_as_processes_of_their_own(copied, capsys, cluster):
    left, logs = copied
    assert copies.submit("copied", [str(left)], cluster, 3, logs) == 0
    assert len(list(left.iterdir())) == 3
    assert re.search(f"Submitted 3 copies of copied: {cluster.split()[0]} .*; their logs: {logs}/cluster", capsys.readouterr().out)


def test_a_copy_that_fails_is_named_and_fails_the_command(copied, capsys):
    left, logs = copied
    assert copies.submit("copied", [str(left), "--fail"], "local", 1, logs) == 1
    assert "copy 0 ended with exit code 3" in capsys.readouterr().err


SAVES = """
import pathlib, signal, sys, time
def save(number, frame):
    pathlib.Path(sys.argv[1], "saved").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
pathlib.Path(sys.argv[1], "begun").touch()
time.sleep(60)
"""


def test_before_the_time_limit_the_command_saves_and_is_queued_again(tmp_path):
    copy, errors = copies.Copy([sys.executable, "-c", SAVES, str(tmp_path)]), []

    def run():
        with pytest.raises(UserError) as caught:
            copy(2)
        errors.append(str(caught.value))

    thread = threading.Thread(target=run)
    thread.start()
    while not (tmp_path / "begun").exists():
        time.sleep(0.02)
    os.kill(copy.process.pid, signal.SIGUSR2)  # SLURM sends it to every process of the job
    again = copy.checkpoint(2)
    thread.join()
    assert (tmp_path / "saved").exists()
    assert "copy 2 ended with exit code 143" in errors[0]
    assert (again.function.line, again.args) == (copy.line, (2,))


SBATCH = """#!/bin/bash
echo "$@" >>{folder}/sbatch.log
cp "${{@: -1}}" {folder}/batch.sh
echo "Submitted batch job 12"
"""


def test_slurm_is_asked_once_for_an_array_that_is_queued_again(copied, tmp_path, monkeypatch, capsys):
    for name, text in (("sbatch", SBATCH.format(folder=tmp_path)), ("srun", "#!/bin/bash\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    left, logs = copied
    assert copies.submit("copied", [str(left)], "slurm timeout_min=240 slurm_partition=gpu", 4, logs) == 0
    assert len((tmp_path / "sbatch.log").read_text().splitlines()) == 1
    batch = (tmp_path / "batch.sh").read_text()
    for option in ("--array=0-3", "--time=240", "--partition=gpu", "--job-name=aeseg-copied", "--signal=USR2@"):
        assert f"#SBATCH {option}" in batch, batch
    assert "Submitted 4 copies of copied: slurm 12;" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cluster", "number", "says"),
    [
        ("pbs", 2, "Expected slurm, local, debug, then name=value"),
        ("local minutes", 2, "got --cluster='local minutes'"),
        (" ", 2, "Expected slurm, local, debug"),
        ("local", 0, "Expected --copies >= 1; got 0"),
        ("local hours=3", 2, "local refused the jobs"),
    ],
)
def test_a_cluster_that_is_none_is_refused(tmp_path, cluster, number, says):
    with pytest.raises(UserError, match=re.escape(says)):
        copies.submit("tables", [], cluster, number, str(tmp_path))


def test_without_submitit_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[cluster\]'"):
        copies.submit("tables", [], "slurm", 2, str(tmp_path))


def test_copies_do_each_task_once_and_wait_for_those_of_others(tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "PAUSE", 0.01)
    done, finished = [], []

    def task(name):
        if not (path := pathlib.Path(tmp_path / name)).exists():
            time.sleep(0.1)
            done.append(name)
            path.write_text(json.dumps(name))

    def copy():
        copies.each([(str(tmp_path / f"{name}.lock"), lambda name=name: task(name)) for name in "abcd"], shared=True)
        finished.append(sorted(done))

    threads = [threading.Thread(target=copy) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert finished == [list("abcd")] * 3
