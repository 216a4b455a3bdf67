"""aeseg/training/trust_ratio.py, through the optimisers, against the papers' algorithms, layer by layer, for three steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg.training import optimiser as optimisers
from aeseg.training import trust_ratio
from tests.training.optimiser_test import stepped

START = {"kernel": np.array([[0.5, -1.0], [2.0, 0.25]]), "bias": np.array([0.1, -0.3])}


def slope(weights, number):
    return {name: weight**2 + number - 0.5 for name, weight in weights.items()}


def lamb(weights, rate, b1, b2, epsilon, decay, steps):
    """You et al. 2020, algorithm 2, in its symbols; a bias has no decay and no trust ratio."""
    x = {name: weight.copy() for name, weight in weights.items()}
    m, v = (dict.fromkeys(x, 0.0) for _ in range(2))
    for t in range(1, steps + 1):
        for name, g in slope(x, t - 1).items():
            m[name] = b1 * m[name] + (1 - b1) * g
            v[name] = b2 * v[name] + (1 - b2) * g**2
            r = (m[name] / (1 - b1**t)) / (np.sqrt(v[name] / (1 - b2**t)) + epsilon)
            if name == "bias":
                x[name] = x[name] - rate * r
            else:
                u = r + decay * x[name]
                x[name] = x[name] - rate * np.linalg.norm(x[name]) / np.linalg.norm(u) * u
    return x


def lars(weights, rate, momentum, trust, decay, steps):
    """You et al. 2017, algorithm 1, in its symbols; the learning rate is constant, so it may come before or after the momentum."""
    w = {name: weight.copy() for name, weight in weights.items()}
    v = dict.fromkeys(w, 0.0)
    for t in range(steps):
        for name, g in slope(w, t).items():
            local = 1.0
            if name != "bias":
                local = trust * np.linalg.norm(w[name]) / (np.linalg.norm(g) + decay * np.linalg.norm(w[name]))
                g = g + decay * w[name]
            v[name] = momentum * v[name] + rate * local * g
            w[name] = w[name] - v[name]
    return w


@pytest.mark.parametrize("name", ["lamb", "lars"])
def test_the_steps_equal_the_paper(name):
    if name == "lamb":
        ours = optimisers.lamb(0.1, steps=5, schedule="constant", weight_decay=0.2)
        expected = lamb(START, 0.1, 0.9, 0.95, 1e-6, 0.2, steps=3)
    else:
        ours = optimisers.lars(0.1, steps=5, schedule="constant", trust=0.02, weight_decay=0.2)
        expected = lars(START, 0.1, 0.9, 0.02, 0.2, steps=3)
    moved = stepped(ours, slope, jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), START), 3)
    for leaf in START:
        np.testing.assert_allclose(moved[leaf], expected[leaf], rtol=2e-5)


@pytest.mark.parametrize("name", ["lamb", "lars"])
def test_each_layer_of_a_stack_has_its_own_ratio(name):
    kernels = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4)) * np.array([1.0, 50.0]).reshape(2, 1, 1), jnp.float32)
    make = getattr(optimisers, name)
    ours = make(0.1, steps=5, schedule="constant", weight_decay=0.2)
    together = stepped(ours, slope_of_all, {"encoder": {"blocks": {"kernel": kernels}}}, 2)["encoder"]["blocks"]["kernel"]
    for layer in range(2):
        alone = stepped(ours, slope_of_all, {"encoder": {"block": {"kernel": kernels[layer]}}}, 2)["encoder"]["block"]["kernel"]
        np.testing.assert_allclose(together[layer], alone, rtol=1e-5)


def slope_of_all(weights, number):
    return jax.tree.map(lambda leaf: leaf + number, weights)


@pytest.mark.parametrize("transform", [trust_ratio.scale_by_lamb_ratio(()), trust_ratio.scale_by_lars_ratio(0.001, 0.0, ())])
def test_parameters_that_start_at_zero_can_change(transform):
    updates, _ = transform.update({"kernel": jnp.ones((2, 2))}, transform.init({}), {"kernel": jnp.zeros((2, 2))})
    np.testing.assert_array_equal(updates["kernel"], np.ones((2, 2)))
    still, _ = transform.update({"kernel": jnp.zeros((2, 2))}, transform.init({}), {"kernel": jnp.ones((2, 2))})
    np.testing.assert_array_equal(still["kernel"], np.zeros((2, 2)))
