"""aeseg/training/checkpoints.py: whole or refused, newest first, nothing skipped in silence."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg.training import checkpoints
from aeseg.training.checkpoints import Checkpoints
from aeseg.training.state import TrainState
from aeseg.types import UserError


def state(step, value=1.0):
    params = {"encoder": {"kernel": jnp.full((40, 50), value), "bias": jnp.zeros(3)}}
    return TrainState(jnp.int32(step), params, {}, (), {})


def saved(folder, steps, **options):
    kept = Checkpoints(str(folder), **options)
    for step in steps:
        kept.save(state(step, float(step)), {"mean_iou": -abs(step - 4.0)})
        kept.wait()
    return kept


def damage(folder, step):
    """Flip one byte of the largest file of a checkpoint."""
    files = [os.path.join(place, name) for place, _, names in os.walk(folder / str(step) / "state") for name in names]
    largest = max(files, key=os.path.getsize)
    with open(largest, "r+b") as file:
        file.seek(os.path.getsize(largest) // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


def test_the_newest_whole_checkpoint_is_restored_and_the_damaged_one_named(tmp_path):
    kept = saved(tmp_path, (2, 4), keep=3)
    damage(tmp_path, 4)
    said = []
    found = kept.restore(state(0), said.append)
    assert int(found.step) == 2
    assert float(found.params["encoder"]["kernel"][0, 0]) == 2.0
    assert len(said) == 1
    assert "Checkpoint 4" in said[0]
    assert "trying an older one" in said[0]
    assert checkpoints.load_variables(str(tmp_path))[0] == 2


def test_only_damaged_checkpoints_are_an_error_and_none_at_all_is_none(tmp_path):
    kept = saved(tmp_path / "a", (2,))
    damage(tmp_path / "a", 2)
    with pytest.raises(UserError, match="None of the checkpoints"):
        kept.restore(state(0), lambda text: None)
    assert Checkpoints(str(tmp_path / "b")).restore(state(0), pytest.fail) is None
    with pytest.raises(UserError, match=r"Expected checkpoints in .*; found none"):
        checkpoints.load_variables(str(tmp_path / "b"))


def test_the_last_the_best_and_every_kth_are_kept_also_after_a_restart(tmp_path):
    saved(tmp_path, (2, 4, 6), keep=1, best="mean_iou", keep_every=6).close()
    kept = saved(tmp_path, (8, 10), keep=1, best="mean_iou", keep_every=6)
    assert kept.steps() == [4, 6, 10]
    assert kept.best_step() == 4


def test_a_step_that_is_asked_for_and_missing_lists_those_that_exist(tmp_path):
    kept = saved(tmp_path, (2, 4))
    with pytest.raises(UserError, match=r"No checkpoint of step 3 in .*; there are \[2, 4\]"):
        kept.restore(state(0), pytest.fail, step=3)


def test_saving_copies_so_that_donated_memory_does_no_harm(tmp_path):
    kept = Checkpoints(str(tmp_path))
    current = state(1, 7.0)
    kept.save(current, {})
    jax.jit(lambda s: jax.tree.map(lambda leaf: leaf * 0, s), donate_argnums=0)(current)
    kept.wait()
    assert float(kept.restore(state(0), pytest.fail).params["encoder"]["kernel"].min()) == 7.0


def test_a_graft_takes_the_encoder_and_nothing_else():
    model = {"params": {"encoder": {"w": np.zeros((2, 3))}, "head": {"w": np.zeros(2)}}, "batch_stats": {"encoder": {"m": np.zeros(3)}}}
    donor = {"params": {"encoder": {"w": np.ones((2, 3))}, "decoder": {"w": np.ones(5)}}, "batch_stats": {"encoder": {"m": np.ones(3)}}}
    grafted, taken = checkpoints.graft(model, donor)
    assert taken == ["batch_stats/encoder/m", "params/encoder/w"]
    assert grafted["params"]["encoder"]["w"].min() == 1
    assert grafted["params"]["head"]["w"].max() == 0


def test_a_checkpoint_that_does_not_fit_is_listed_in_full():
    model = {"params": {"encoder": {"w": np.zeros((2, 3)), "new": np.zeros(1)}}}
    donor = {"params": {"encoder": {"w": np.ones((3, 3)), "old": np.ones(1)}}}
    with pytest.raises(UserError) as error:
        checkpoints.graft(model, donor)
    text = str(error.value)
    assert "Missing: params/encoder/new" in text
    assert "Extra: params/encoder/old" in text
    assert "params/encoder/w: model (2, 3), checkpoint (3, 3)" in text


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"Cannot write to .*Free some space or name another --workdir"):
        Checkpoints(str(tmp_path / "file" / "checkpoints"))
