import jax.numpy as jnp
import numpy as np
import pytest

from aeseg.models import running

FIRST, SECOND = jnp.array([0, 2]), jnp.array([1, 3])  # a batch of four rows in two microbatches


def test_only_the_first_microbatch_of_a_step_has_its_first_row():
    assert running.starts_step(FIRST)
    assert not running.starts_step(SECOND)


def test_both_microbatches_of_a_step_see_the_same_count_which_rises_once():
    count, seen = jnp.zeros(()), []
    for _ in range(3):
        for index in (FIRST, SECOND):
            before, count = running.completed_steps(index, count)
            seen.append(float(before))
    assert seen == [0, 0, 1, 1, 2, 2]
    assert count == 3


def test_only_the_first_microbatch_updates_the_state():
    def settle(state):
        return {"settled": state["settled"] + state["pending"], "pending": jnp.zeros(())}

    state = {"settled": jnp.float32(1), "pending": jnp.float32(2)}
    assert running.opened(FIRST, state, settle) == {"settled": 3, "pending": 0}
    assert running.opened(SECOND, state, settle) == state


def test_the_ratio_of_decayed_sums_is_an_unbiased_running_mean():
    total = weight = jnp.zeros(())
    values = [5.0, 1.0, 4.0]
    for value in values:
        total, weight = running.decayed(total, jnp.float32(2 * value), 0.5), running.decayed(weight, jnp.float32(2), 0.5)
    assert total / weight == pytest.approx(np.average(values, weights=[0.25, 0.5, 1]))
