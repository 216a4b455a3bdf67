"""Resuming on other devices and processes, with parameters sharded or not: the same bits, and the next step to 1e-6."""

import functools
import json
import os
import shutil

import jax
import numpy as np
import pytest

from aeseg import tree
from aeseg.training import mesh
from aeseg.training.checkpoints import Checkpoints
from aeseg.training.log import Log
from tests.forked import Forked
from tests.training import cases
from tests.training.program import main
from tests.training.signals_test import ENVIRONMENT, port

pytestmark = pytest.mark.spread
STEPS, RESUMED = 4, 3
"""Every step is saved; what follows RESUMED is removed."""


def trained(workdir, devices, fsdp):
    """Train or resume on so many devices; return the state at the start."""
    run = cases.run(STEPS, mesh=mesh.create(fsdp, jax.devices()[:devices]), ema=0.9, log_every=1, save_every=1)
    kept = Checkpoints(os.path.join(workdir, "checkpoints"), keep=5)
    state = cases.initial_state(run)
    state = kept.restore(state, say=pytest.fail) or state
    start = jax.device_get(state)
    log = Log(str(workdir), STEPS, int(state.step))
    try:
        cases.trained(run, state, kept, log)
    finally:
        kept.close()
        log.close()
    return start


def two_processes(workdir, fsdp):
    """Train or resume in two processes with two devices each."""
    environment = {**ENVIRONMENT, "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"}
    options = [str(workdir), f"steps={STEPS}", "ranks=2", f"port={port()}", "log_every=1", "save_every=1", f"fsdp={fsdp}", "ema=0.9"]
    ranks = [Forked(main, [*options, f"rank={rank}"], environment) for rank in (0, 1)]
    printed = [rank.communicate(timeout=300) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], printed


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a function from (devices, fsdp), or "processes" and fsdp, to the workdir of a run that was not interrupted."""

    @functools.cache
    def run(devices, fsdp):
        workdir = tmp_path_factory.mktemp("whole")
        two_processes(workdir, fsdp) if devices == "processes" else trained(workdir, devices, fsdp)
        return workdir

    return run


def losses(workdir):
    rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return {row["step"]: row["train/loss"] for row in rows if "train/loss" in row}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        *(((1, 1), (8, 4)), ((8, 4), (1, 1)), ((8, 4), (2, 1))),
        *((("processes", 4), (1, 1)), (("processes", 1), (8, 4)), ((8, 4), ("processes", 1)), ((1, 1), ("processes", 4))),
    ],
)
def test_a_run_goes_on_on_other_devices_and_processes_sharded_or_not(tmp_path, whole, before, after):
    shutil.copytree(whole(*before), tmp_path / "run")
    shutil.rmtree(tmp_path / f"run/checkpoints/{STEPS}")
    if after[0] == "processes":
        two_processes(tmp_path / "run", after[1])
    else:
        start = trained(tmp_path / "run", *after)
        assert int(start.step) == RESUMED
        kept = Checkpoints(str(whole(*before) / "checkpoints"), keep=5)
        saved = kept.restore(start, pytest.fail, step=RESUMED)
        kept.close()
        pairs = zip(jax.tree.leaves(start), jax.tree.leaves(saved), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs), "the restored state differs"
        assert tree.count(start.params) > 1000
    wanted, resumed = losses(whole(*before)), losses(tmp_path / "run")
    assert resumed.keys() == wanted.keys() == set(range(1, STEPS + 1))
    assert resumed[RESUMED + 1] == pytest.approx(wanted[RESUMED + 1], rel=1e-6)
