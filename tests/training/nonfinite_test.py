"""aeseg/training/nonfinite.py: steps that are not finite stop the run or are skipped, are named, and leave no trace."""

import contextlib
import itertools
import os

import jax
import numpy as np
import pytest

from aeseg.training import loop, nonfinite
from aeseg.training.checkpoints import Checkpoints
from aeseg.training.log import Log
from aeseg.types import UserError
from tests.training import cases


def trained(workdir, bad, policy, steps=6):
    """Train with NaN in the batches of the steps in `bad`; return (outcome, messages)."""

    def poisoned(start):
        for step, batch in zip(itertools.count(start), cases.batches(start), strict=False):
            yield {"image": batch["image"].astype(np.float32) / 255 * (np.nan if step + 1 in bad else 1)}

    run = cases.run(steps, jax.devices()[:1], batches=poisoned, ema=0.9, log_every=1)
    said = []
    with contextlib.closing(Checkpoints(os.path.join(workdir, "checkpoints"))) as kept:
        log = Log(str(workdir), steps)
        log.say = said.append
        state = cases.initial_state(run)
        step = cases.train_step(run)
        return loop.train(run, state, kept, log, lambda state: {}, lambda state: None, policy, step), said


def named(step):
    return [f"{step}-{row}\n" for row in range(20)]


def test_stopping_names_the_step_and_the_records_and_the_parts_and_the_last_good_step(tmp_path):
    with pytest.raises(UserError) as error:
        trained(tmp_path, {3}, nonfinite.Policy(names=named))
    message = str(error.value)
    assert message.startswith("Step 3: ")
    assert "step 2 was the last good one" in message
    assert "The records of its batch: 2-0\\n, 2-1\\n" in message  # escaped
    assert "and 4 more" in message
    assert "decoder nan" in message
    assert Checkpoints(str(tmp_path / "checkpoints")).steps() == [2]


@pytest.mark.optimised
def test_a_skipped_step_changes_only_its_number_and_is_reported(tmp_path):
    plain, _ = trained(tmp_path / "plain", set(), nonfinite.Policy(), steps=2)
    skipped, said = trained(tmp_path / "skipped", {3, 4}, nonfinite.Policy("skip", names=named), steps=4)
    assert int(skipped.state.step) == 4
    jax.tree.map(np.testing.assert_array_equal, skipped.state.replace(step=2), plain.state.replace(step=2))
    assert [line for line in said if line.startswith("Step")][1].startswith("Step 4: not finite, skipped (2 in a row). The records")
    rows = (tmp_path / "skipped" / "metrics.jsonl").read_text().splitlines()
    assert '"train/skipped": 1.0' in rows[-1]
    assert "null" not in "".join(rows)


@pytest.mark.optimised
def test_skipping_without_a_bad_step_trains_the_same_bit_for_bit(tmp_path):
    plain, _ = trained(tmp_path / "plain", set(), nonfinite.Policy(), steps=3)
    skipping, _ = trained(tmp_path / "skipping", set(), nonfinite.Policy("skip"), steps=3)
    jax.tree.map(np.testing.assert_array_equal, skipping.state, plain.state)


def test_too_many_in_a_row_end_the_run(tmp_path):
    with pytest.raises(UserError, match=r"Step 5: not finite, number 3 in a row\. .*step 2 was the last good one"):
        trained(tmp_path, {3, 4, 5}, nonfinite.Policy("skip", in_a_row=3))
    trained(tmp_path / "other", {2, 4, 6}, nonfinite.Policy("skip", in_a_row=2))


@pytest.mark.parametrize(
    ("fields", "message"), [({"do": "ignore"}, "nonfinite is one of stop, skip"), ({"in_a_row": 0}, "at least 1; got 0")]
)
def test_an_unknown_policy_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        nonfinite.Policy(**fields)


def test_a_loss_far_above_the_others_is_a_spike():
    spikes = nonfinite.Spikes(factor=4.0, window=50, least=20)
    assert spikes.messages((step, 1.0 if step else 100.0) for step in range(30)) == []
    assert spikes.messages([(30, 3.9), (31, 4.1)]) == ["Step 31: the loss is 4.1; the median of the 31 steps before is 1."]
