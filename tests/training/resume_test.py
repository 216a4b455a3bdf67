"""Resuming on other devices and processes, with parameters sharded or not: the same state, and the same training to rounding."""

import json
import os

import jax
import numpy as np
import pytest

from aeseg import tree
from aeseg.training import loop, mesh
from aeseg.training.checkpoints import Checkpoints
from aeseg.training.log import Log
from tests.forked import Forked
from tests.training import cases
from tests.training.program import main
from tests.training.signals_test import ENVIRONMENT, port

pytestmark = pytest.mark.spread
STEPS = 6


def trained(workdir, steps, devices, fsdp):
    """Train or resume on so many devices; return (state at the start, state at the end)."""
    run = cases.run(steps, mesh=mesh.create(fsdp, jax.devices()[:devices]), ema=0.9, log_every=1)
    kept = Checkpoints(os.path.join(workdir, "checkpoints"), keep=5)
    state = loop.initial_state(run, next(cases.batches(0)))
    state = kept.restore(state, say=pytest.fail) or state
    start = jax.device_get(state)
    log = Log(str(workdir), steps, int(state.step))
    try:
        return start, jax.device_get(cases.trained(run, state, kept, log).state)
    finally:
        kept.close()
        log.close()


def losses(workdir):
    return [json.loads(line)["train/loss"] for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def distance(left, right):
    """Norm of the difference of all parameters, relative to their norm."""
    pairs = [(np.float64(a), np.float64(b)) for a, b in zip(jax.tree.leaves(left.params), jax.tree.leaves(right.params), strict=True)]
    return np.sqrt(sum(np.sum((a - b) ** 2) for a, b in pairs) / sum(np.sum(a**2) for a, _ in pairs))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(workdir, end) of a run that is not interrupted, on one device."""
    workdir = tmp_path_factory.mktemp("whole")
    return workdir, trained(workdir, STEPS, 1, 1)[1]


def check(workdir, end, whole):
    assert len(losses(workdir)) == STEPS
    np.testing.assert_allclose(losses(workdir), losses(whole[0]), rtol=1e-6)
    assert distance(end, whole[1]) < 1e-6


@pytest.mark.parametrize(("before", "after"), [((1, 1), (8, 4)), ((8, 4), (1, 1)), ((8, 8), (4, 2)), ((2, 1), (8, 1))])
def test_a_run_goes_on_on_other_devices_sharded_or_not(tmp_path, whole, before, after):
    _, middle = trained(tmp_path, 3, *before)
    start, end = trained(tmp_path, STEPS, *after)
    assert tree.flatten(start).keys() == tree.flatten(middle).keys()
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(middle), jax.tree.leaves(start), strict=True))
    check(tmp_path, end, whole)


def two_processes(workdir, steps, fsdp):
    """Train or resume in two processes with two devices each."""
    environment = {**ENVIRONMENT, "XLA_FLAGS": os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=2")}
    options = [str(workdir), f"steps={steps}", "ranks=2", f"port={port()}", "log_every=1", f"fsdp={fsdp}", "ema=0.9"]
    ranks = [Forked(main, [*options, f"rank={rank}"], environment) for rank in (0, 1)]
    printed = [rank.communicate(timeout=200) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], printed


@pytest.mark.parametrize("fsdp", [1, 4])
def test_a_run_goes_on_in_other_processes_sharded_or_not(tmp_path, whole, fsdp):
    two_processes(tmp_path / "joined", 3, fsdp)
    _, end = trained(tmp_path / "joined", STEPS, 1, 1)
    check(tmp_path / "joined", end, whole)
    trained(tmp_path / "parted", 3, 8, 2)
    two_processes(tmp_path / "parted", STEPS, fsdp)
    start, end = trained(tmp_path / "parted", STEPS, 1, 1)
    assert int(start.step) == STEPS
    check(tmp_path / "parted", end, whole)
