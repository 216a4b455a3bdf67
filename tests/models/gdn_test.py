import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg.models.gdn import GDN

RANDOM = np.random.default_rng(0)
FEATURES = jnp.asarray(RANDOM.normal(size=(2, 3, 4, 5)), jnp.float32)
BETA, GAMMA = RANDOM.uniform(0.1, 2, 5), RANDOM.uniform(0, 1, (5, 5))
PARAMS = {"params": {"beta": jnp.asarray(np.sqrt(BETA - 1e-6), jnp.float32), "gamma": jnp.asarray(np.sqrt(GAMMA), jnp.float32)}}


@pytest.mark.parametrize("inverse", [False, True])
def test_it_is_the_formula_of_the_paper_written_out(inverse):
    found = GDN(inverse).apply(PARAMS, FEATURES)
    for place in np.ndindex(2, 3, 4):
        x = np.asarray(FEATURES)[place].astype(np.float64)
        for i in range(5):
            norm = np.sqrt(BETA[i] + sum(GAMMA[i, j] * x[j] ** 2 for j in range(5)))
            assert found[(*place, i)] == pytest.approx(x[i] * norm if inverse else x[i] / norm, rel=1e-5)


def test_it_begins_with_beta_1_and_little_between_channels():
    variables = GDN().init(jax.random.key(0), FEATURES)
    square = FEATURES**2
    energy = 0.1 * square + 1e-4 * (jnp.sum(square, axis=-1, keepdims=True) - square)
    np.testing.assert_allclose(GDN().apply(variables, FEATURES), FEATURES / jnp.sqrt(1 + energy), rtol=1e-5)


def test_no_parameter_makes_it_divide_by_0():
    params = {"beta": jnp.zeros(5), "gamma": -jnp.zeros((5, 5))}
    np.testing.assert_allclose(GDN().apply({"params": params}, FEATURES), FEATURES / 1e-3, rtol=1e-5)
