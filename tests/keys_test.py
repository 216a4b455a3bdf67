"""aeseg/keys.py: random streams."""

import jax
import jax.numpy as jnp

from aeseg import keys


def same(left, right):
    return bool(jnp.all(jax.random.key_data(left) == jax.random.key_data(right)))


def test_a_stream_depends_on_its_name_and_its_step():
    root = jax.random.key(0)
    assert same(keys.stream(root, "noise", 3), keys.stream(root, "noise", jnp.int32(3)))
    assert not same(keys.stream(root, "noise", 3), keys.stream(root, "noise", 4))
    assert not same(keys.stream(root, "noise", 3), keys.stream(root, "hidden", 3))


def test_a_row_keeps_its_key_in_any_part_of_the_batch():
    root = jax.random.key(0)
    whole = keys.per_row(root, jnp.arange(6))
    assert same(whole[1::2], keys.per_row(root, jnp.array([1, 3, 5])))
    assert len({tuple(map(int, row)) for row in jax.random.key_data(whole)}) == 6
