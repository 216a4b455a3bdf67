"""launch.sh, with a Python that only records what it should install and run."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib

import pytest

from tests.imports_test import ROOT

PYTHON = f"""#!/usr/bin/env bash
if [[ "$1 $2" == "-m venv" ]]; then mkdir -p "$3/bin"; cp note "$3/bin/python"; else exec {sys.executable} "$@"; fi
"""
NOTE = """#!/usr/bin/env bash
echo "$*" >>log
if [[ "$2" == pip ]]; then sleep 0.2; exit "${PIP_FAILS:-0}"; fi
if [[ "$*" == "${DIES:-}" && $(grep -c -- "$DIES" log) -le "${TIMES:-0}" ]]; then kill -9 $$; fi
[[ "$*" != "${FAILS:-}" ]] || exit "${CODE:-1}"
if [[ "$*" == "${WAITS:-}" ]]; then trap 'echo heard >>log; exit 143' TERM; sleep 5 & wait; fi
"""


@pytest.fixture
def launch(tmp_path, monkeypatch):
    """Run launch.sh in its own folder; return (exit code, recorded installs and runs, stderr)."""
    for name in ("launch.sh", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments/pretrain.py").write_text('if __name__ == "__main__": pass')
    (tmp_path / "experiments/cli.py").write_text("")
    for name, text in (("python", PYTHON), ("note", NOTE)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("AESEG_PYTHON", "./python")
    monkeypatch.setenv("AESEG_ACCELERATOR", "cpu")

    def run(*arguments, **environment):
        (tmp_path / "log").write_text("")
        result = subprocess.run(
            [tmp_path / "launch.sh", *arguments], env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )
        run.printed = result.stdout.splitlines()
        return result.returncode, (tmp_path / "log").read_text().splitlines(), result.stderr

    return run


ONEDNN = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["cpu"][0]
CPU = f"-r requirements.txt {ONEDNN}"


def installed(lines):
    return [line.partition("version-check ")[2] for line in lines if line.startswith("-m pip")]


def test_the_first_run_installs_and_the_second_does_not(launch):
    code, lines, _ = launch("pretrain", "--config.steps=2", "--workdir=a b")
    assert code == 0
    assert installed(lines) == [CPU]
    assert lines[-1] == "-m experiments.pretrain --config.steps=2 --workdir=a b"
    assert launch("pretrain")[1] == ["-m experiments.pretrain"]


def test_changed_requirements_are_installed_again(launch, tmp_path):
    launch("pretrain")
    with (tmp_path / "requirements.txt").open("a") as file:
        file.write("one-more\n")
    assert installed(launch("pretrain")[1]) == [CPU]


def test_an_incomplete_environment_is_created_again(launch, tmp_path):
    code, _, error = launch("pretrain", PIP_FAILS="1")
    assert code == 2
    assert "pip could not install" in error
    (tmp_path / ".venv/left_over").write_text("")
    assert installed(launch("pretrain")[1]) == [CPU]
    assert not (tmp_path / ".venv/left_over").exists()


def test_the_tests_install_their_extra_once(launch, tmp_path):
    _, lines, _ = launch("test", "-x", AESEG_TEST_WORKERS="2")
    assert len(installed(lines)) == 2
    assert installed(lines)[1].startswith("-c requirements.txt pytest>=8")
    assert lines[-1] == "-m pytest -n 2 --dist loadscope -x"
    assert installed(launch("test")[1]) == []
    text = (tmp_path / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(text.replace("pytest>=8", "pytest>=8.1"))
    assert len(installed(launch("test")[1])) == 1


def test_a_command_for_a_cluster_installs_its_launcher(launch):
    _, lines, _ = launch("pretrain", "--copies=2", "--cluster=slurm")
    assert installed(lines)[1].startswith("-c requirements.txt submitit")
    assert installed(launch("pretrain", "--cluster", "local")[1]) == []


def test_all_checks_run_before_the_tests_and_one_that_fails_ends_them(launch):
    checks = ["-m ruff check", "-m ruff format --check", "-m mypy", "-m sphinx -W -q docs .cache/site"]
    code, lines, _ = launch("test", AESEG_TEST_WORKERS="2")
    assert code == 0
    lines = [line for line in lines if not line.startswith("-m pip")]
    assert (lines[:2], sorted(lines[2:4]), lines[4:]) == (checks[:2], checks[2:], ["-m pytest -n 2 --dist loadscope"])
    for number, check in enumerate(checks, 1):
        code, lines, _ = launch("test", FAILS=check)
        assert code != 0
        assert sorted(lines) == sorted(checks[: number if number < 3 else 4])  # types and site are checked at once
    assert launch("test", "tests/spec_test.py")[1][-1].endswith("tests/spec_test.py"), "a selection of tests needs no other check"
    assert len(launch("test", "-x")[1]) == 1


@pytest.mark.parametrize(("driver", "extra"), [("580.65.06", "jax[cuda13]"), ("535.104.05", "jax[cuda12]")])
def test_a_gpu_is_found_and_its_driver_picks_cuda(launch, tmp_path, driver, extra):
    # Two GPUs, the second printed a moment later, when a reader of only the first line would have closed the pipe.
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\necho {driver}\nsleep 0.2\necho {driver}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    _, lines, _ = launch("pretrain", AESEG_ACCELERATOR="", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert installed(lines) == [f"-r requirements.txt {extra}"]
    assert (tmp_path / f".venv-{extra[4:-1]}").is_dir()  # another host of the cluster, without a GPU, keeps its own


def test_an_accelerator_may_be_named(launch):
    assert installed(launch("pretrain", AESEG_ACCELERATOR="tpu")[1]) == ["-r requirements.txt jax[tpu]"]
    code, _, error = launch("pretrain", AESEG_ACCELERATOR="gpu")
    assert code == 2
    assert "cpu, cuda, cuda12, cuda13 or tpu" in error


def test_two_concurrent_calls_install_once(launch, tmp_path):
    (tmp_path / "log").write_text("")
    both = [subprocess.Popen([tmp_path / "launch.sh", "pretrain"], stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(installed(lines)) == 1
    assert lines.count("-m experiments.pretrain") == 2


def test_an_unknown_command_lists_the_commands(launch):
    code, _, error = launch("pretrian")
    assert code == 2
    assert "unknown command 'pretrian'. The commands: pretrain test" in error
    assert launch("cli")[0] == 2


def test_a_missing_python_is_an_error(launch):
    code, _, error = launch("pretrain", AESEG_PYTHON="./nothing")
    assert code == 2
    assert "./nothing is not a Python >= 3.11" in error


def test_the_minutes_of_a_gpu_go_to_the_most_informative_rows_first(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    stub = tmp_path / "bin/python3"
    stub.write_text(f'#!/usr/bin/env bash\necho "$* flags:$XLA_FLAGS" >>{tmp_path}/log\n')
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    subprocess.run([ROOT / "experiments/gpu.sh", "9", "out", "data"], cwd=tmp_path, check=True, capture_output=True)
    first, *others = (tmp_path / "log").read_text().splitlines()
    assert first.startswith(f"-m experiments.tables scenes_labels --scale=gpu --run --together --runs={tmp_path}/out/runs --minutes=")
    assert 8.5 < float(first.partition("--minutes=")[2].split()[0]) <= 9
    assert first.endswith("--xla_gpu_autotune_level=0")
    assert [line.split()[2] for line in others] == ["camvid_segnet", "drive"]
    assert all(f"--set=data.root={tmp_path}/data/{name}" in line for name, line in zip(("camvid", "drive"), others, strict=True))
    assert (tmp_path / "out/scenes_labels.jsonl").read_text()


def test_a_dry_run_only_prints_its_commands(launch, tmp_path):
    code, lines, _ = launch("--dry-run", "pretrain", "--workdir=a b")
    assert (code, lines) == (0, [])
    assert [shlex.split(line) for line in launch.printed] == [
        ["./python", "-m", "venv", ".venv"],
        [".venv/bin/python", "-m", "pip", "install", "--no-compile", "-r", "requirements.txt", ONEDNN],
        [".venv/bin/python", "-m", "experiments.pretrain", "--workdir=a b"],
    ]
    assert not (tmp_path / ".venv").exists()
    launch("pretrain")
    launch("--dry-run", "pretrain")
    assert launch.printed == [".venv/bin/python -m experiments.pretrain"]
    assert launch("--dry-run", "test", "-x", AESEG_TEST_WORKERS="2")[1] == []
    assert launch.printed[-1] == ".venv/bin/python -m pytest -n 2 --dist loadscope -x"


def test_a_killed_command_is_restarted_at_most_as_often_as_allowed(launch):
    line = "-m experiments.pretrain --workdir=x"
    code, lines, error = launch("--restarts=2", "pretrain", "--workdir=x", DIES=line, TIMES="2")
    assert code == 0
    assert lines.count(line) == 3
    assert "ended with 137 and is restarted; 1 restarts are left" in error
    code, lines, _ = launch("--restarts=2", "pretrain", "--workdir=x", DIES=line, TIMES="9")
    assert code == 137
    assert lines.count(line) == 3
    assert launch("pretrain", "--workdir=x", DIES=line, TIMES="1")[0] == -9


@pytest.mark.parametrize(("ended", "starts"), [("1", 2), ("2", 1), ("130", 1), ("143", 1)])
def test_only_crashes_and_lost_processes_are_restarted(launch, ended, starts):
    code, lines, _ = launch("--restarts=1", "pretrain", FAILS="-m experiments.pretrain", CODE=ended)
    assert code == int(ended)
    assert lines.count("-m experiments.pretrain") == starts


def test_a_signal_reaches_the_command_whose_exit_code_is_kept(launch, tmp_path):
    launch("pretrain")
    (tmp_path / "log").write_text("")
    waits = {**os.environ, "WAITS": "-m experiments.pretrain"}
    process = subprocess.Popen([tmp_path / "launch.sh", "--restarts=3", "pretrain"], env=waits)
    while "experiments.pretrain" not in (tmp_path / "log").read_text():
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 143
    assert (tmp_path / "log").read_text().splitlines() == ["-m experiments.pretrain", "heard"]


def test_slurm_is_asked_for_nodes_that_save_and_are_queued_again(launch, tmp_path):
    code, lines, _ = launch("--dry-run", "--slurm=4", "--restarts=3", "pretrain", "--workdir=/a b")
    assert (code, lines) == (0, [])
    (printed,) = launch.printed
    name, *options, wrap = shlex.split(printed)
    assert name == "sbatch"
    assert {"--nodes=4", "--ntasks-per-node=1", "--requeue", "--signal=TERM@60"} <= set(options)
    assert r"srun --kill-on-bad-exit=0 ./launch.sh --restarts=3 pretrain --workdir=/a\ b" in wrap
    (tmp_path / "sbatch").write_text('#!/bin/bash\nprintf "%s\\n" "$@" >>log\n')
    (tmp_path / "bin").mkdir()  # without sbatch, which this machine may have
    for name in ("bash", "env", "sed", "grep", "tr", "head", "dirname"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    code, _, error = launch("--slurm", "pretrain", PATH=str(tmp_path / "bin"))
    assert code == 2
    assert "needs sbatch, which is not installed here" in error
    (tmp_path / "sbatch").chmod(0o755)
    code, lines, _ = launch("--slurm", "pretrain", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert code == 0
    assert "--nodes=1" in lines
    assert launch("--slurm=0", "pretrain")[0] == 2


@pytest.mark.parametrize(
    ("code", "starts", "again"),
    [(0, 0, False), (1, 0, True), (1, 3, False), (2, 0, False), (130, 0, False), (137, 2, True), (143, 0, True), (143, 9, True)],
)
def test_slurm_queues_again_what_saved_or_was_killed_and_not_more_often_than_asked(launch, tmp_path, code, starts, again):
    launch("--dry-run", "--slurm", "--restarts=3", "pretrain")
    script = shlex.split(launch.printed[0])[-1].removeprefix("--wrap=")
    (tmp_path / "srun").write_text(f"#!/bin/bash\nexit {code}\n")
    (tmp_path / "scontrol").write_text('#!/bin/bash\necho "$*" >>requeued\n')
    for name in ("srun", "scontrol"):
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": str(starts)}
    assert subprocess.run(["sh", "-c", script], cwd=tmp_path, env=environment, check=False).returncode == code
    assert (tmp_path / "requeued").exists() == again
    if again:
        assert (tmp_path / "requeued").read_text() == "requeue 7\n"


def test_unknown_options_are_named(launch):
    code, _, error = launch("--restart=1", "pretrain")
    assert code == 2
    assert "unknown option '--restart=1'. Options before the command: --dry-run, --restarts=N, --slurm=NODES" in error
    assert "needs a number; got 'x'" in launch("--restarts=x", "pretrain")[2]
