"""launch.sh --slurm and --cluster=slurm on a real SLURM: its daemons run on this machine for the time of the tests.

Skipped where Debian's slurmctld, slurmd, slurm-client and munge are not installed, or where the daemons cannot run.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time

import pytest

from aeseg.training.stored import saved_steps
from experiments.machine import copies
from tests.imports_test import ROOT

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "munged", "mungekey")
ABSENT = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]

pytestmark = pytest.mark.skipif(
    bool(ABSENT), reason=f"{', '.join(ABSENT)} not installed (apt-get install slurmctld slurmd slurm-client munge)"
)

CONFIG = """
ClusterName=aeseg
SlurmctldHost={host}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=20
OverTimeLimit=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
"""One node: Debian's SLURM runs one slurmd on a machine."""

PYTHON = f"""#!/usr/bin/env bash
case "$1 $2" in
  "-m venv") mkdir -p "$3/bin"; cp ./python "$3/bin/python" ;;
  "-m pip") ;;
  *) exec {sys.executable} "$@" ;;
esac
"""
PRETRAIN = """
import sys
from tests.training import program
if __name__ == "__main__":
    program.main([*sys.argv[1:], "slurm=1"])
"""


def free_ports(number):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster of one node; returns its environment."""
    folder = tmp_path_factory.mktemp("slurm")
    folder.chmod(0o755)
    host, environment = socket.gethostname().partition(".")[0], {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    (folder / "slurm.conf").write_text(CONFIG.format(folder=folder, host=host, ports=free_ports(2), user=user))
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    environment |= {"SLURM_CONF": str(folder / "slurm.conf")}
    subprocess.run(["mungekey", "--create", f"--keyfile={folder}/key"], env=environment, check=True)
    files = [f"--{name}={folder}/munge.{name.partition('-')[0]}" for name in ("socket", "pid-file", "log-file", "seed-file")]
    daemons = [["munged", "--foreground", "--force", f"--key-file={folder}/key", *files], ["slurmctld", "-D"]]
    daemons += [["slurmd", "-D"]]
    started = []
    with open(folder / "daemons.log", "w") as log:
        for command in daemons:
            started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
            time.sleep(1)
    late = time.monotonic() + 30
    while (state := said(environment, "sinfo", "-h", "-o", "%D %t")) != "1 idle" and time.monotonic() < late:
        time.sleep(0.5)
    if state != "1 idle":
        logs = [path.read_text().strip().splitlines() for path in folder.glob("*.log")]
        reason = "; ".join(lines[-1] for lines in logs if lines)
        stop(started)
        pytest.skip(f"SLURM's daemons do not run here: {state!r}; {reason}")
    yield environment
    subprocess.run(["scancel", "--me"], env=environment, check=False)
    stop(started)


def stop(daemons):
    for daemon in reversed(daemons):
        daemon.terminate()
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()


def said(environment, *command):
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout.strip()


@pytest.fixture
def launch(cluster, tmp_path):
    """A copy of launch.sh beside a small program; returns a function that submits it and returns the job's number."""
    for name in ("launch.sh", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    script = (tmp_path / "launch.sh").read_text()  # two tasks on the one node, instead of one on each of two
    (tmp_path / "launch.sh").write_text(script.replace("--ntasks-per-node=1", "--ntasks-per-node=2"))
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments/__init__.py").write_text("")
    (tmp_path / "experiments/pretrain.py").write_text(PRETRAIN)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    here = {"AESEG_PYTHON": "./python", "AESEG_ACCELERATOR": "cpu", "PYTHONPATH": str(ROOT), "XLA_FLAGS": "", "SBATCH_OUTPUT": "job.log"}

    def submitted(*words, **more):
        command = [str(tmp_path / "launch.sh"), *words]
        told = subprocess.run(command, env={**cluster, **here, **more}, capture_output=True, text=True, check=True).stdout
        return re.search(r"job (\d+)", told)[1]

    return submitted


def wait_for(condition, seconds, log):
    late = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < late, log.read_text() if log.exists() else "the job did not begin"
        time.sleep(0.2)
    return value


def state(cluster, job):
    return re.search(r"JobState=(\w+)", said(cluster, "scontrol", "show", "job", job))[1]


def limited(cluster, job, limit):
    """Try to set a job's time limit, which SLURM refuses while the job ends; return whether it is set."""
    said(cluster, "scontrol", "update", f"JobId={job}", f"TimeLimit={limit}")
    return f"TimeLimit={limit}" in said(cluster, "scontrol", "show", "job", job)


def test_a_job_saves_before_its_time_ends_and_continues_when_it_is_queued_again(cluster, launch, tmp_path):
    """The time limit is lowered to a minute at most from the third step on: TERM@60 comes at once.  Then it is raised again."""
    job, log = launch("--slurm", "pretrain", "run", "steps=2000", "pause=0.25", SBATCH_TIMELIMIT="60"), tmp_path / "job.log"
    wait_for(lambda: log.exists() and log.read_text().count("batch 3\n") == 2, 300, log)
    hours, minutes, _ = map(int, re.search(r"RunTime=(\d+):(\d+):(\d+)", said(cluster, "scontrol", "show", "job", job)).groups())
    wait_for(lambda: limited(cluster, job, f"{hours:02}:{minutes + 1:02}:00"), 60, log)
    (step,) = wait_for(lambda: saved_steps(str(tmp_path / "run/checkpoints")), 150, log)
    wait_for(lambda: limited(cluster, job, "01:00:00"), 60, log)  # the limit stays with the job: else each start ends at once
    wait_for(lambda: log.read_text().count(f"batch {step + 3}\n") == 2, 300, log)
    assert log.read_text().count(f"ended at {step}\n") == 2
    assert log.read_text().count("batch 0\n") == 2, "it began again instead of continuing"
    said(cluster, "scancel", job)
    wait_for(lambda: state(cluster, job) == "CANCELLED", 60, log)


@pytest.mark.parametrize("restarts", [0, 2])
def test_a_killed_step_resumes_by_itself_where_restarts_are_allowed(cluster, launch, tmp_path, restarts):
    log = tmp_path / "job.log"
    job = launch("--slurm", f"--restarts={restarts}", "pretrain", "run", "steps=30", "pause=0.2", "save_every=5", "lost_after=5")
    wait_for(lambda: saved_steps(str(tmp_path / "run/checkpoints")), 300, log)
    said(cluster, "scancel", "--signal=KILL", f"{job}.0")
    wanted = "COMPLETED" if restarts else "FAILED"
    wait_for(lambda: state(cluster, job) == wanted, 300, log)
    assert saved_steps(str(tmp_path / "run/checkpoints"))[-1:] == [30] if restarts else log.read_text().count("batch 1\n") == 2
    begun = [int(number) for number in re.findall(r"batch (\d+)", log.read_text())]
    assert sorted(set(begun)) == list(range(30)) if restarts else max(begun) < 29


def test_copies_run_as_one_array(cluster, tmp_path, monkeypatch):
    (tmp_path / "copied.py").write_text("import os, pathlib, sys; pathlib.Path(sys.argv[1], os.environ['SLURM_ARRAY_TASK_ID']).touch()")
    for name in ("PATH", "SLURM_CONF"):
        monkeypatch.setenv(name, cluster[name])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    monkeypatch.setattr(copies, "module", lambda name: name)
    left = tmp_path / "left"
    left.mkdir()
    assert copies.submit("copied", [str(left)], "slurm timeout_min=5", 3, str(tmp_path / "logs")) == 0
    wait_for(lambda: len(list(left.iterdir())) == 3, 60, tmp_path / "none")
    assert sorted(path.name for path in left.iterdir()) == ["0", "1", "2"]
