"""aeseg/training/loop.py: exact after resuming, equal on any number of devices, and stopped by values that are not finite."""

import contextlib
import itertools
import json
import multiprocessing
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from aeseg.data.loader import Loader
from aeseg.training import loop, mesh
from aeseg.training.checkpoints import Checkpoints
from aeseg.training.log import Log
from aeseg.types import UserError
from tests.training import cases
from tests.training.cases import batches, run


def trained(workdir, chosen, say=pytest.fail, **how):
    """Resume or start, train, and return the outcome."""
    kept = Checkpoints(os.path.join(workdir, "checkpoints"), keep=5)
    state = cases.initial_state(chosen)
    state = kept.restore(state, say=say) or state
    log = Log(str(workdir), chosen.steps, int(state.step))
    step = cases.train_step(chosen)
    try:
        return cases.trained(chosen, state, kept, log, step_function=step, **how)
    finally:
        kept.close()
        log.close()


def rows_of(workdir):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if any(name.startswith(("train/", "loss")) for name in row)]


def equal(left, right):
    left, right = jax.device_get(left), jax.device_get(right)
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True))


@pytest.fixture
def one_device():
    return jax.devices()[:1]


@pytest.mark.optimised
@pytest.mark.parametrize("method", ["denoising", "reconstruction"])
def test_a_resumed_run_equals_an_uninterrupted_run_bit_for_bit(tmp_path, one_device, method):
    whole = trained(tmp_path / "whole", run(6, one_device, method=method, ema=0.9))

    def interrupted(start):
        for step, batch in enumerate(batches(start), start):
            if step == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    stopped = trained(tmp_path / "parts", run(6, one_device, method=method, ema=0.9, batches=interrupted))
    assert not stopped.finished
    assert stopped.signal == signal.SIGTERM
    assert int(stopped.state.step) == 3
    resumed = trained(tmp_path / "parts", run(6, one_device, method=method, ema=0.9))
    assert resumed.finished
    assert equal(whole.state, resumed.state)
    rows = rows_of(tmp_path / "parts")
    assert [row["step"] for row in rows] == [2, 3, 4, 6]


def test_a_run_saves_when_its_minutes_are_over_and_continues(tmp_path, one_device):
    stopped = trained(tmp_path, run(6, one_device), deadline=0.0)
    assert (int(stopped.state.step), stopped.finished, stopped.signal) == (1, False, 0)
    resumed = trained(tmp_path, run(6, one_device), deadline=float("inf"))
    assert resumed.finished
    assert [row["step"] for row in rows_of(tmp_path)] == [1, 2, 4, 6]


@pytest.mark.spread
def test_devices_and_microbatches_change_rounding_only(tmp_path):
    reference = trained(tmp_path / "1", run(3, jax.devices()[:1])).state.params
    for devices, microbatches in ((8, 1), (2, 4)):
        params = trained(tmp_path / f"{devices}-{microbatches}", run(3, jax.devices()[:devices], microbatches)).state.params
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6), reference, params)


@pytest.mark.spread
def test_parameters_sharded_over_fsdp_devices_train_the_same(tmp_path):
    reference = trained(tmp_path / "1", run(2, jax.devices()[:1])).state.params
    cut = run(2, mesh=mesh.create(fsdp=4))
    params = trained(tmp_path / "8", cut).state.params
    assert any("fsdp" in str(leaf.sharding.spec) for leaf in jax.tree.leaves(params))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6), reference, jax.device_get(params))


def test_a_loss_that_is_not_finite_names_its_step_and_keeps_the_previous_checkpoint(tmp_path, one_device):
    def poisoned(start):
        for step, batch in enumerate(batches(start), start):
            image = batch["image"].astype(np.float32) / 255
            yield {"image": image * (np.nan if step == 2 else 1)}

    with pytest.raises(UserError, match=r"Step 3: .*loss.* is not finite\. The checkpoints from before it are kept"):
        trained(tmp_path, run(6, one_device, batches=poisoned))
    assert Checkpoints(str(tmp_path / "checkpoints")).steps() == [2]


def test_rows_after_the_last_checkpoint_are_removed(tmp_path):
    first = Log(str(tmp_path), 10)
    for step in (2, 4, 6):
        first.write(step, {"loss": 1.0 / step})
    first.close()
    again = Log(str(tmp_path), 10, start=4)
    assert len(rows_of(tmp_path)) == 3  # nothing changes until it is rewound
    again.rewind(4)
    again.write(6, {"loss": float("nan")})
    again.close()
    rows = rows_of(tmp_path)
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert rows[-1]["loss"] is None


def test_a_run_with_a_damaged_newest_checkpoint_repeats_its_steps_and_logs_each_once(tmp_path, one_device):
    whole = trained(tmp_path, run(6, one_device, evaluate_every=2))
    before = (tmp_path / "metrics.jsonl").read_text()
    for path in (tmp_path / "checkpoints" / "6" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    said = []
    again = trained(tmp_path, run(6, one_device, evaluate_every=2), said.append)
    assert "Checkpoint 6" in said[0]
    assert equal(whole.state, again.state)
    assert (tmp_path / "metrics.jsonl").read_text() == before
    assert Checkpoints(str(tmp_path / "checkpoints")).steps() == [2, 4, 6]
    assert (tmp_path / "checkpoints" / "6.damaged").is_dir()


def test_a_killed_loader_process_gives_one_sentence():
    with contextlib.closing(Loader(cases.IMAGES, (), 4, workers=1).batches()) as loaded:
        next(loaded)
        (worker,) = multiprocessing.active_children()
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(UserError, match=r"ended with exit code -9 \(it was killed.*lower --config.data.workers"):
            [loop._next(loaded) for _ in range(50)]  # it had made the first few before


def test_a_running_mean_includes_batch_statistics_as_torch_averages_buffers(one_device):
    """torch.optim.swa_utils' exponential average, over parameters and statistics of three steps."""
    ours = run(3, one_device, method="spark", ema=0.8)
    state, advance = cases.initial_state(ours), cases.train_step(ours)
    seen = [jax.device_get({"params": state.params, **state.collections})]
    for batch in itertools.islice(batches(0), 3):
        state, _ = advance(state, mesh.place(ours.mesh, batch))
        seen.append(jax.device_get({"params": state.params, **state.collections}))
    assert "batch_stats" in seen[0]
    average, leaves = torch.optim.swa_utils.get_ema_multi_avg_fn(0.8), [jax.tree.leaves(each) for each in seen]
    theirs = [torch.tensor(leaf) for leaf in leaves[0]]
    for each in leaves[1:]:
        average(theirs, [torch.tensor(leaf) for leaf in each], None)
    for mine, other in zip(jax.tree.leaves(state.ema), theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-7)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), state.variables["batch_stats"], state.ema["batch_stats"]))
