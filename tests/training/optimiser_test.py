"""aeseg/training/optimiser.py, against torch.optim and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from aeseg.training import optimiser as optimisers
from aeseg.types import UserError


def params():
    return {"encoder": {"level0": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}}, "head": {"kernel": jnp.full((2,), 2.0)}}


def stepped(optimiser, gradient_of, tree, steps):
    state = optimiser.init(tree)
    for number in range(steps):
        updates, state = optimiser.update(gradient_of(tree, number), state, tree)
        tree = optax.apply_updates(tree, updates)
    return tree


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_the_steps_are_those_of_torch(name):
    start = np.array([0.5, -1.0, 2.0], np.float32)
    if name == "adamw":
        ours = optimisers.adamw(0.1, steps=5, schedule="constant", b1=0.9, b2=0.95, weight_decay=0.2)
        theirs = lambda p: torch.optim.AdamW([p], lr=0.1, betas=(0.9, 0.95), weight_decay=0.2)  # noqa: E731
    else:
        ours = optimisers.sgd(0.1, steps=5, momentum=0.9, weight_decay=0.2)
        theirs = lambda p: torch.optim.SGD([p], lr=0.1, momentum=0.9, weight_decay=0.2)  # noqa: E731
    tree = stepped(ours, lambda t, n: jax.tree.map(lambda p: p**2 + n, t), {"kernel": jnp.array(start)}, 5)
    weight = torch.nn.Parameter(torch.tensor(start))
    other = theirs(weight)
    for number in range(5):
        weight.grad = weight.detach() ** 2 + number
        other.step()
    np.testing.assert_allclose(tree["kernel"], weight.detach(), rtol=2e-6)


def test_biases_norms_and_positions_are_not_decayed():
    names = {"kernel": 0, "bias": 0, "norm0": {"scale": 0}, "position_table": 0, "class_token": 0}
    assert optimisers.decayed(names) == {
        "kernel": True, "bias": False, "norm0": {"scale": False}, "position_table": False, "class_token": False,
    }  # fmt: skip


FALLS = [("constant", 1.0, 1.0), ("cosine", 0.5, 0.0), ("polynomial", 0.5**0.9, 0.0)]


@pytest.mark.parametrize(("shape", "middle", "last"), FALLS)
def test_the_rate_warms_up_and_falls(shape, middle, last):
    rate = optimisers.learning_rate_schedule(1.0, steps=12, warmup=4, shape=shape, end=0.0, power=0.9)
    np.testing.assert_allclose([rate(0), rate(2), rate(4), rate(8), rate(12)], [0, 0.5, 1, middle, last], atol=1e-6)


def test_layer_decay_gives_lower_layers_a_smaller_rate():
    tree = {"encoder": {"stem": {"kernel": 0}, "level0": {"kernel": 0}, "level1": {"kernel": 0}}, "head": 0}
    scales = {"encoder": {"stem": {"kernel": 0.125}, "level0": {"kernel": 0.25}, "level1": {"kernel": 0.5}}, "head": 1.0}
    assert optimisers.layer_scales(tree, 0.5) == scales
    plain = optimisers.sgd(1.0, steps=1, momentum=0.0, layer_decay=0.5)
    moved = stepped(plain, lambda t, n: jax.tree.map(jnp.ones_like, t), params(), 1)
    assert float(moved["encoder"]["level0"]["kernel"][0, 0]) == 0.5
    assert float(moved["head"]["kernel"][0]) == 1.0


def test_what_is_frozen_does_not_move_at_all():
    frozen = optimisers.adamw(0.1, steps=3, schedule="constant", weight_decay=0.5, freeze=("encoder/*",))
    moved = stepped(frozen, lambda t, n: jax.tree.map(jnp.ones_like, t), params(), 3)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), moved["encoder"], params()["encoder"]))
    assert float(moved["head"]["kernel"][0]) < 2.0


def test_clipping_bounds_the_gradients_norm():
    clipped = optimisers.sgd(1.0, steps=1, momentum=0.0, clip=1.0)
    moved = stepped(clipped, lambda t, n: jax.tree.map(lambda p: 100 * jnp.ones_like(p), t), params(), 1)
    change = jax.tree.map(lambda a, b: a - b, moved, params())
    assert float(optax.tree.norm(change)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"warmup": 9}, "warmup must lie between 0 and steps"),
        ({"schedule": "cosin"}, "schedule must be one of"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(arguments, text):
    with pytest.raises(UserError, match=text):
        optimisers.adamw(1.0, steps=5, **arguments)


def test_freezing_all_or_nothing_by_mistake_is_refused():
    with pytest.raises(UserError, match="leaves nothing to train"):
        optimisers.sgd(1.0, steps=1, freeze=("*",)).init(params())
    with pytest.raises(UserError, match="matches no parameter"):
        optimisers.sgd(1.0, steps=1, freeze=("encode/*",)).init(params())
