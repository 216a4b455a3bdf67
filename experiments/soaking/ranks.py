"""Lost ranks: two processes train one run, as under SLURM; one is killed or gets SIGTERM, both must end, and both must resume.

After a kill, the other rank names the lost rank and exits with 1.  After SIGTERM, both save the same step and exit with 143.  Started
again, they must log the numbers of an undisturbed run of two processes.  The reduced soak has no case; the test suite tests lost ranks with
a smaller program.
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from aeseg import jsonlines

from .. import module
from . import runs
from .journal import Case, Outcome
from .runs import Setting
from .worker import Clock, Lost

WITHIN = 60.0
"""Time limit, in seconds, for both ranks to end after the disturbance."""

DISTURBANCES = tuple((rank, number) for number in (signal.SIGKILL, signal.SIGTERM) for rank in (0, 1))


def cases(setting: Setting) -> Iterator[Case]:
    """Yield a case for each rank and signal."""
    if setting.scale != "full":
        return
    undisturbed: list[list[dict[str, Any]]] = []
    for rank, number in DISTURBANCES:
        name = f"{signal.Signals(number).name} of rank {rank}"
        dice = setting.dice(name)
        yield Case(name, lambda rank=rank, number=number, dice=dice: disturbed(undisturbed, rank, number, dice, setting.folder))


def disturbed(undisturbed: list[list[dict[str, Any]]], rank: int, number: int, dice: random.Random, folder: str) -> Outcome:
    """Disturb a rank at a random moment after the first step, check how both end, and start both again."""
    if not undisturbed:
        path = _fresh(folder, "undisturbed")
        ended = _finished(_started(path), runs.SECONDS)
        if [code for code, _ in ended] != [0, 0]:
            raise Lost(f"the undisturbed ranks ended with {[code for code, _ in ended]}: {ended[0][1][-300:]}")
        undisturbed.append(_numbers(path))
    path = _fresh(folder, "disturbed")
    ranks, failures = _started(path), []
    clock = Clock(ranks[rank].pid)
    while not os.path.exists(os.path.join(path, "metrics.jsonl")) and clock.seconds() < runs.SECONDS:
        time.sleep(0.02)
    time.sleep(dice.uniform(0, 1))
    ranks[rank].send_signal(number)
    ended = _finished(ranks, WITHIN)
    codes = [code for code, _ in ended]
    if number == signal.SIGTERM and codes not in ([143, 143], [0, 0]):  # 0: training had just finished
        failures.append(f"ended with {codes}, expected 143 from both")
    other, said = ended[1 - rank]
    if number == signal.SIGKILL and other and (other != 1 or f"Process {rank} of 2 is lost" not in said):
        failures.append(f"rank {1 - rank} ended with {other} and did not name rank {rank}: {said[-300:]}")
    again = _finished(_started(path), runs.SECONDS)
    if [code for code, _ in again] != [0, 0]:
        failures.append(f"started again, the ranks ended with {[code for code, _ in again]}: {again[0][1][-300:]}")
    elif not _are_near(undisturbed[0], _numbers(path)):
        failures.append("the numbers differ from the undisturbed run's")
    return Outcome({"lost ranks" if number == signal.SIGKILL else "stopped ranks": 1}, tuple(failures))


def _started(path: str) -> list[subprocess.Popen[str]]:
    """Start two ranks with SLURM's variables; each has four virtual devices."""
    job = str(int.from_bytes(os.urandom(3), "big"))
    while not _is_free(int(job) % 2**12 + 2**16 - 2**12):
        job = str(int(job) + 1)
    config = os.path.join(os.path.dirname(path), "config.json")
    with open(config, "w", encoding="utf-8") as file:
        file.write(runs.config("denoiser"))
    made = []
    for rank in ("0", "1"):
        cluster = {
            "SLURM_JOB_ID": job,
            "SLURM_STEP_NODELIST": "localhost",
            "SLURM_NTASKS": "2",
            "SLURM_PROCID": rank,
            "SLURM_LOCALID": rank,
        }
        more = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", **runs.programs(os.path.dirname(path))}
        command = [sys.executable, "-m", module("pretrain"), f"--config={config}", f"--workdir={path}"]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        made.append(subprocess.Popen(command, env={**os.environ, **cluster, **more}, **pipes))  # type: ignore[call-overload]
    return made


def _finished(ranks: list[subprocess.Popen[str]], seconds: float) -> list[tuple[int, str]]:
    """Return (exit code, stderr) of each rank; kill ranks that run longer than `seconds`."""
    clocks, ended = [Clock(process.pid) for process in ranks], []
    for process, clock in zip(ranks, clocks, strict=True):
        said = None
        while said is None:
            try:
                said = process.communicate(timeout=1)[1]
            except subprocess.TimeoutExpired:
                if clock.seconds() > seconds:
                    process.kill()
                    said = f"still running after {seconds:.0f} s: killed\n{process.communicate()[1]}"
        ended.append((process.returncode, said))
    return ended


def _numbers(path: str) -> list[dict[str, Any]]:
    return jsonlines.read(os.path.join(path, "metrics.jsonl"))


def _are_near(wanted: list[dict[str, Any]], got: list[dict[str, Any]]) -> bool:
    """Return whether two runs logged the same steps and, up to float32 rounding, numbers (collectives sum in any order)."""
    if [sorted(row) for row in wanted] != [sorted(row) for row in got]:
        return False
    pairs = [(a[name], b[name]) for a, b in zip(wanted, got, strict=True) for name in a]
    return all(json.dumps(a) == json.dumps(b) or bool(np.isclose(a, b, rtol=1e-4, atol=1e-6)) for a, b in pairs)


def _fresh(folder: str, name: str) -> str:
    path = os.path.join(folder, name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(folder, exist_ok=True)
    return path


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
