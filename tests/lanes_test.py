import os

import jax
import jax.numpy as jnp
import pytest

from tests import lanes


@jax.jit
def product(x):
    return jnp.tanh(x @ x.T) * 2


def code() -> int:
    """Return the length of the function's compiled program."""
    return len(product.lower(jnp.ones((8, 8))).compile().runtime_executable().serialize())


def test_a_function_is_compiled_again_in_the_optimised_lane_and_only_there():
    product(jnp.ones((8, 8)))
    programs, plain = product._cache_size(), code()
    with lanes.optimised():
        assert code() != plain
        product(jnp.ones((8, 8)))
        assert product._cache_size() == programs + 1
    assert code() == plain
    product(jnp.ones((8, 8)))
    assert product._cache_size() == programs + 1


@pytest.mark.optimised
def test_the_mark_sets_the_lane_of_a_test_and_of_what_it_starts():
    assert "JAX_DISABLE_MOST_OPTIMIZATIONS" not in os.environ
    marked = code()
    with lanes.optimised():
        assert code() == marked
    assert "JAX_DISABLE_MOST_OPTIMIZATIONS" not in os.environ


def test_without_the_mark_the_lane_is_the_plain_one():
    assert os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1"
    plain = code()
    with lanes.optimised():
        assert code() != plain
