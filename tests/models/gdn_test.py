import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg.models.gdn import GDN

RANDOM = np.random.default_rng(0)
FEATURES = jnp.asarray(RANDOM.normal(size=(2, 3, 4, 5)), jnp.float32)
BETA, GAMMA = RANDOM.uniform(0.1, 2, 5), RANDOM.uniform(0, 1, (5, 5))
PARAMS = {"params": {"beta": jnp.asarray(np.sqrt(BETA), jnp.float32), "gamma": jnp.asarray(np.sqrt(GAMMA), jnp.float32)}}


@pytest.mark.parametrize("inverse", [False, True])
def test_it_is_the_formula_of_the_paper_written_out(inverse):
    found = GDN(inverse).apply(PARAMS, FEATURES)
    for place in np.ndindex(2, 3, 4):
        x = np.asarray(FEATURES)[place].astype(np.float64)
        for i in range(5):
            norm = np.sqrt(BETA[i] + sum(GAMMA[i, j] * x[j] ** 2 for j in range(5)))
            assert found[(*place, i)] == pytest.approx(x[i] * norm if inverse else x[i] / norm, rel=1e-5)


def test_it_begins_with_beta_1_and_a_tenth_of_the_identity():
    variables = GDN().init(jax.random.key(0), FEATURES)
    expected = FEATURES / jnp.sqrt(1 + 0.1 * FEATURES**2)
    np.testing.assert_allclose(GDN().apply(variables, FEATURES), expected, rtol=1e-5)


def test_a_gamma_of_0_can_grow_and_a_beta_below_its_bound_counts_as_the_bound():
    variables = GDN().init(jax.random.key(0), FEATURES)
    slope = jax.grad(lambda params: jnp.sum(GDN().apply({"params": params}, FEATURES) ** 2))(variables["params"])
    off = ~np.eye(5, dtype=bool)
    assert (np.asarray(slope["gamma"])[off] < 0).all()  # more division makes the output smaller, and descent raises them
    params = {**variables["params"], "beta": jnp.full(5, -3.0)}
    expected = FEATURES / jnp.sqrt(1e-6 + 0.1 * FEATURES**2)
    np.testing.assert_allclose(GDN().apply({"params": params}, FEATURES), expected, rtol=1e-4)
