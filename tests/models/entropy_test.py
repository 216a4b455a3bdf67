import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from aeseg.models import entropy

GRID = jnp.broadcast_to(jnp.arange(-3000.0, 3001.0).reshape(1, 1, -1, 1), (1, 1, 6001, 2))


def prior(spread=10.0):
    """Return a prior of two channels with random parameters."""
    module = entropy.FactorisedPrior(spread=spread)
    fresh = module.init(jax.random.key(0), GRID)
    leaves, tree = jax.tree.flatten(fresh)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return module, jax.tree.unflatten(
        tree, [leaf + 0.3 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    )


def test_a_normal_mass_is_the_difference_of_torchs_distribution():
    random = np.random.default_rng(0)
    values, log_scale = random.integers(-40, 41, 500), random.uniform(-2.2, 3, 500)
    normal = torch.distributions.Normal(torch.zeros(500, dtype=torch.float64), torch.exp(torch.tensor(log_scale)))
    expected = normal.cdf(torch.tensor(values + 0.5)) - normal.cdf(torch.tensor(values - 0.5))
    found = entropy.gaussian_mass(jnp.asarray(values, jnp.float32), jnp.asarray(log_scale, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-12)


def test_the_masses_of_a_learned_density_sum_to_1():
    module, variables = prior()
    mass = np.asarray(module.apply(variables, GRID), np.float64)
    assert mass.min() >= 0
    np.testing.assert_allclose(mass.sum(axis=2), 1, atol=1e-4)


def test_a_learned_density_is_the_difference_of_the_papers_cumulative_written_out():
    module, variables = prior()
    params = {name: np.asarray(leaf, np.float64) for name, leaf in variables["params"].items()}

    def cumulative(channel, x):
        values = np.array([[x]])
        for layer in range(4):
            values = np.log1p(np.exp(params[f"matrix{layer}"][channel])) @ values + params[f"bias{layer}"][channel]
            if layer < 3:
                values = values + np.tanh(params[f"factor{layer}"][channel]) * np.tanh(values)
        return 1 / (1 + np.exp(-values.item()))

    mass = np.asarray(module.apply(variables, GRID))[0, 0]
    for channel in range(2):
        for value in (-20, -3, -1, 0, 1, 2, 15):
            expected = cumulative(channel, value + 0.5) - cumulative(channel, value - 0.5)
            assert mass[3000 + value, channel] == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_scales_outside_the_coders_range_are_moved_to_its_ends_and_can_return():
    low, high = math.log(entropy.LEAST_SCALE), math.log(entropy.LARGEST_SCALE)
    np.testing.assert_allclose(entropy.in_range(jnp.array([-9.0, 0.0, 9.0])), [low, 0, high])
    slope = jax.grad(lambda values, sign: jnp.sum(sign * entropy.in_range(values)))
    np.testing.assert_array_equal(slope(jnp.array([-9.0, 9.0]), 1.0), [0, 1])
    np.testing.assert_array_equal(slope(jnp.array([-9.0, 9.0]), -1.0), [-1, 0])


def test_bits_are_finite_for_an_impossible_value():
    np.testing.assert_allclose(entropy.bits(jnp.array([1.0, 0.5, 0.0])), [0, 1, -math.log2(1e-9)], rtol=1e-6)
