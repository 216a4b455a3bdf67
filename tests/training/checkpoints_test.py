"""aeseg/training/checkpoints.py: checkpoints are intact or refused, newest first, and every skip is reported."""

import json
import os
import re
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg.training import checkpoints
from aeseg.training.checkpoints import Checkpoints
from aeseg.training.state import TrainState
from aeseg.types import UserError
from experiments.soaking.damage import WAYS, files_of, spoil


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


def test_the_newest_intact_checkpoint_is_restored_and_the_damaged_checkpoint_named(tmp_path):
    kept = saved(tmp_path, (2, 4), keep=3)
    damage(tmp_path, 4)
    said = []
    found = kept.restore(state(0), said.append)
    assert int(found.step) == 2
    assert float(found.params["encoder"]["kernel"][0, 0]) == 2.0
    assert len(said) == 2
    assert "Checkpoint 4" in said[0]
    assert "trying an older one" in said[0]
    assert "4.damaged" in said[1]
    assert checkpoints.load_variables(str(tmp_path))[0] == 2


def test_only_damaged_checkpoints_are_an_error_and_no_checkpoint_gives_none(tmp_path):
    kept = saved(tmp_path / "a", (2,))
    damage(tmp_path / "a", 2)
    with pytest.raises(UserError, match="None of the checkpoints"):
        kept.restore(state(0), lambda text: None)
    assert Checkpoints(str(tmp_path / "b")).restore(state(0), pytest.fail) is None
    with pytest.raises(UserError, match=r"Expected checkpoints in .*; found none"):
        checkpoints.load_variables(str(tmp_path / "b"))


def test_the_last_the_best_and_every_kth_checkpoint_are_kept_also_after_a_restart(tmp_path):
    saved(tmp_path, (2, 4, 6), keep=1, best="mean_iou", keep_every=6).close()
    kept = saved(tmp_path, (8, 10), keep=1, best="mean_iou", keep_every=6)
    assert kept.steps() == [4, 6, 10]
    assert kept.best_step() == 4


def test_a_missing_step_lists_the_existing_steps(tmp_path):
    kept = saved(tmp_path, (2, 4))
    with pytest.raises(UserError, match=r"No checkpoint of step 3 in .*; there are \[2, 4\]"):
        kept.restore(state(0), pytest.fail, step=3)


def test_saving_copies_so_that_donated_memory_is_safe(tmp_path):
    kept = Checkpoints(str(tmp_path))
    current = state(1, 7.0)
    kept.save(current, {})
    jax.jit(lambda s: jax.tree.map(lambda leaf: leaf * 0, s), donate_argnums=0)(current)
    kept.wait()
    assert float(kept.restore(state(0), pytest.fail).params["encoder"]["kernel"].min()) == 7.0


def test_a_graft_loads_only_the_encoder():
    model = {"params": {"encoder": {"w": np.zeros((2, 3))}, "head": {"w": np.zeros(2)}}, "batch_stats": {"encoder": {"m": np.zeros(3)}}}
    donor = {"params": {"encoder": {"w": np.ones((2, 3))}, "decoder": {"w": np.ones(5)}}, "batch_stats": {"encoder": {"m": np.ones(3)}}}
    grafted, taken = checkpoints.graft(model, donor)
    assert taken == ["batch_stats/encoder/m", "params/encoder/w"]
    assert grafted["params"]["encoder"]["w"].min() == 1
    assert grafted["params"]["head"]["w"].max() == 0


def test_a_checkpoint_that_does_not_fit_is_listed_completely():
    model = {"params": {"encoder": {"w": np.zeros((2, 3)), "new": np.zeros(1)}}}
    donor = {"params": {"encoder": {"w": np.ones((3, 3)), "old": np.ones(1)}}}
    with pytest.raises(UserError) as error:
        checkpoints.graft(model, donor)
    text = str(error.value)
    assert "Missing: params/encoder/new" in text
    assert "Extra: params/encoder/old" in text
    assert "params/encoder/w: model (2, 3), checkpoint (3, 3)" in text


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"Cannot write to .*Free some space or name another --workdir"):
        Checkpoints(str(tmp_path / "file" / "checkpoints"))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Save checkpoints of steps 2 and 4, both with metrics."""
    folder = tmp_path_factory.mktemp("two")
    saved(folder, (2, 4), keep=3, best="mean_iou").close()
    return folder


@pytest.mark.parametrize("way", WAYS)
def test_damage_to_any_file_of_one_checkpoint_leaves_the_other_usable(two, tmp_path, way):
    for number, file in enumerate(files_of(two, 4)):
        folder = tmp_path / str(number)
        shutil.copytree(two, folder)
        spoil(folder / file, way)
        step, variables = checkpoints.load_variables(str(folder))
        assert variables["params"]["encoder"]["kernel"][0, 0] == step, file
        said = []
        kept = Checkpoints(str(folder), keep=3, best="mean_iou")
        found = kept.restore(state(0), said.append)
        kept.close()
        step = int(found.step)
        assert float(found.params["encoder"]["kernel"][0, 0]) == step, file
        assert step == 4 or ("Checkpoint 4" in said[0] and (folder / "4.damaged").is_dir() and kept.steps() == [2]), file
        assert step == 2 or (said == [] and kept.steps() == [2, 4]), file


def test_a_damaged_metadata_file_of_the_manager_is_ignored(two, tmp_path):
    shutil.copytree(two, tmp_path / "copy")
    for path in (tmp_path / "copy").iterdir():
        if path.is_file():
            spoil(path, "truncate")
    assert int(Checkpoints(str(tmp_path / "copy")).restore(state(0), pytest.fail).step) == 4


def test_a_step_whose_checkpoint_was_damaged_is_saved_again(tmp_path):
    saved(tmp_path, (55, 60), keep=2).close()
    damage(tmp_path, 60)
    kept, said = Checkpoints(str(tmp_path), keep=2), []
    assert int(kept.restore(state(0), said.append).step) == 55
    assert "moved to" in said[1]
    kept.save(state(60, 6.0), {})
    kept.wait()
    assert kept.steps() == [55, 60]
    assert float(kept.restore(state(0), pytest.fail).params["encoder"]["kernel"][0, 0]) == 6.0
    assert (tmp_path / "60.damaged").is_dir()


def test_names_that_are_not_steps_are_ignored(tmp_path):
    saved(tmp_path, (2,)).close()
    for name in ("²", "٣", "007", "-1", "1e3", "9" * 30, "60.damaged", "x" * 200, "4\n"):
        (tmp_path / name).mkdir()
    (tmp_path / "8").write_text("a file")
    assert checkpoints.saved_steps(str(tmp_path)) == [2]
    assert checkpoints.load_variables(str(tmp_path))[0] == 2
    kept = Checkpoints(str(tmp_path))
    assert kept.steps() == [2]
    assert int(kept.restore(state(0), pytest.fail).step) == 2
    kept.save(state(3), {})
    kept.close()
    assert kept.steps() == [2, 3]


def test_a_checkpoint_under_another_step_s_name_is_not_used(tmp_path):
    saved(tmp_path, (2,)).close()
    shutil.copytree(tmp_path / "2", tmp_path / "9")
    said = []
    assert int(Checkpoints(str(tmp_path)).restore(state(0), said.append).step) == 2
    assert "holds step 2" in said[0]
    assert checkpoints.load_variables(str(tmp_path))[0] == 2


def test_another_model_s_checkpoint_is_refused_and_kept(tmp_path):
    saved(tmp_path, (2,)).close()
    other = TrainState(jnp.int32(0), {"encoder": {"kernel": jnp.zeros((4, 5)), "bias": jnp.zeros(3)}}, {}, (), {})
    with pytest.raises(UserError, match="does not fit the model"):
        Checkpoints(str(tmp_path)).restore(other, lambda text: None)
    assert checkpoints.saved_steps(str(tmp_path)) == [2]


def test_the_best_step_is_known_from_metrics_of_earlier_versions(tmp_path):
    saved(tmp_path, (2, 4, 6), keep=5, best="mean_iou").close()
    for step in (2, 4, 6):
        meta = tmp_path / str(step) / "meta" / "metadata"
        crc = json.loads(meta.read_text())["crc32"]
        meta.write_text(json.dumps({"crc32": crc}))
        (tmp_path / str(step) / "metrics").mkdir()
        (tmp_path / str(step) / "metrics" / "metrics").write_text(json.dumps({"mean_iou": -abs(step - 4.0)}))
    kept = saved(tmp_path, (8,), keep=1, best="mean_iou")
    assert kept.steps() == [4, 8]


FULL = """
import resource, sys
import jax.numpy as jnp, numpy as np
from aeseg.types import UserError
from tests.training.checkpoints_test import random_state, saved

kept = saved(sys.argv[1], (2,))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))  # Python ignores SIGXFSZ: writing fails
try:
    kept.save(random_state(4), {})
    kept.wait()
except UserError as error:
    print(error)
kept.close()
"""


def random_state(step):
    """Return a state of 8 kB that cannot be compressed."""
    kernel = np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32)
    return state(step).replace(params={"encoder": {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(3)}})


@pytest.mark.parametrize("limit", [0, 100, 2000])
def test_a_full_disk_gives_one_sentence_and_keeps_the_last_good_checkpoint(tmp_path, limit):
    ended = subprocess.run([sys.executable, "-c", FULL, str(tmp_path), str(limit)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    (sentence,) = ended.stdout.splitlines()
    assert re.fullmatch(r"Cannot write to .*Free some space or name another --workdir\.", sentence)
    kept = Checkpoints(str(tmp_path))
    assert int(kept.restore(state(0), lambda text: None).step) == 2
    kept.save(random_state(4), {})
    kept.close()
    assert int(Checkpoints(str(tmp_path)).restore(state(0), pytest.fail).step) == 4
