"""aeseg/training/optimiser.py, against torch.optim, or against the paper's formulas if torch lacks the optimiser."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from aeseg import tree
from aeseg.training import optimiser as optimisers
from aeseg.types import UserError


def params():
    return {"encoder": {"level0": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}}, "head": {"kernel": jnp.full((2,), 2.0)}}


def stepped(optimiser, gradient_of, weights, steps):
    state = optimiser.init(weights)
    for number in range(steps):
        updates, state = optimiser.update(gradient_of(weights, number), state, weights)
        weights = optax.apply_updates(weights, updates)
    return weights


@pytest.mark.parametrize("name", ["adamw", "sgd", "rmsprop"])
def test_the_steps_equal_torch(name):
    start = np.array([0.5, -1.0, 2.0], np.float32)
    if name == "adamw":
        ours = optimisers.adamw(0.1, steps=5, schedule="constant", b1=0.9, b2=0.95, weight_decay=0.2)
        theirs = lambda p: torch.optim.AdamW([p], lr=0.1, betas=(0.9, 0.95), weight_decay=0.2)  # noqa: E731
    elif name == "rmsprop":  # without epsilon, which torch adds at another position
        ours = optimisers.rmsprop(0.1, steps=5, decay=0.8, epsilon=0.0, weight_decay=0.2)
        theirs = lambda p: torch.optim.RMSprop([p], lr=0.1, alpha=0.8, eps=0.0, weight_decay=0.2)  # noqa: E731
    else:
        ours = optimisers.sgd(0.1, steps=5, momentum=0.9, weight_decay=0.2)
        theirs = lambda p: torch.optim.SGD([p], lr=0.1, momentum=0.9, weight_decay=0.2)  # noqa: E731
    moved = stepped(ours, lambda t, n: jax.tree.map(lambda p: p**2 + n, t), {"kernel": jnp.array(start)}, 5)
    weight = torch.nn.Parameter(torch.tensor(start))
    other = theirs(weight)
    for number in range(5):
        weight.grad = weight.detach() ** 2 + number
        other.step()
    np.testing.assert_allclose(moved["kernel"], weight.detach(), rtol=2e-6)


def test_rmsprops_epsilon_is_inside_the_root_as_in_lasagne():
    """The mean square of a first gradient 3 is 0.1 * 9; the change is a tenth of 3 / sqrt(0.9 + 0.1)."""
    moved = stepped(optimisers.rmsprop(0.1, steps=1, epsilon=0.1), lambda t, n: {"kernel": jnp.full(1, 3.0)}, {"kernel": jnp.ones(1)}, 1)
    np.testing.assert_allclose(moved["kernel"], [0.7], rtol=1e-6)


def test_biases_norms_and_positions_are_not_decayed():
    names = {"kernel": 0, "bias": 0, "norm0": {"scale": 0}, "position_table": 0, "class_token": 0}
    assert optimisers.decayed(names) == {
        "kernel": True, "bias": False, "norm0": {"scale": False}, "position_table": False, "class_token": False,
    }  # fmt: skip
    stack = {"encoder": {"blocks": {"norm1": {"scale": 0, "bias": 0}, "scale1": {"gamma": 0}, "query": {"kernel": 0, "bias": 0}}}}
    assert [name for name, pulls in tree.flatten(optimisers.decayed(stack)).items() if pulls] == ["encoder/blocks/query/kernel"]


def test_the_weight_decay_of_a_recipe_grows():
    grown = optimisers.adamw(0.1, steps=4, schedule="constant", weight_decay=0.04, weight_decay_growth=5.0)
    moved = stepped(grown, lambda t, n: jax.tree.map(jnp.zeros_like, t), {"kernel": jnp.ones((1,), jnp.float32)}, 4)
    rates = 0.12 - 0.08 * np.cos(np.pi * np.arange(4) / 4)
    np.testing.assert_allclose(moved["kernel"], np.prod(1 - 0.1 * rates), rtol=1e-6)


def test_muon_moves_matrices_as_in_torch():
    """torch orthogonalises in bfloat16, and lacks the bias correction of Nesterov momentum, so the test uses plain momentum."""
    start = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    slopes = np.random.default_rng(1).normal(size=(3, 6, 4)).astype(np.float32)
    ours = optimisers.muon(0.1, steps=3, schedule="constant", nesterov=False, weight_decay=0.2)
    moved = stepped(ours, lambda t, n: {"kernel": jnp.asarray(slopes[n])}, {"kernel": jnp.asarray(start)}, 3)
    weight = torch.nn.Parameter(torch.tensor(start))
    theirs = torch.optim.Muon([weight], lr=0.1, weight_decay=0.2, nesterov=False, adjust_lr_fn="match_rms_adamw")
    for slope in slopes:
        weight.grad = torch.tensor(slope)
        theirs.step()
    change = np.asarray(moved["kernel"]) - start
    np.testing.assert_allclose(change, weight.detach().numpy() - start, atol=0.03 * np.abs(change).max())


def test_all_parameters_except_hidden_matrices_move_as_in_adamw():
    start = {
        "encoder": {"stem": {"kernel": jnp.ones((2, 2, 3, 4))}, "blocks": {"norm": {"scale": jnp.ones((3, 5))}}},
        "head": {"logits": {"kernel": jnp.ones((4, 2))}, "bias": jnp.ones(2)},
    }
    slope = lambda t, n: jax.tree.map(lambda p: p * 0.3 + n, t)  # noqa: E731
    same = {"steps": 3, "schedule": "constant", "b1": 0.9, "b2": 0.95, "weight_decay": 0.2}
    one, other = (stepped(o(0.1, **same), slope, start, 3) for o in (optimisers.muon, optimisers.adamw))
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_frozen_parameters_do_not_move():
    frozen = optimisers.adamw(0.1, steps=3, schedule="constant", weight_decay=0.5, freeze=("encoder/*",))
    moved = stepped(frozen, lambda t, n: jax.tree.map(jnp.ones_like, t), params(), 3)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), moved["encoder"], params()["encoder"]))
    assert float(moved["head"]["kernel"][0]) < 2.0


def test_the_learning_rate_falls_towards_the_image():
    plain = optimisers.sgd(1.0, steps=1, momentum=0.0, layer_decay=0.5)
    moved = stepped(plain, lambda t, n: jax.tree.map(jnp.ones_like, t), params(), 1)
    assert float(moved["encoder"]["level0"]["kernel"][0, 0]) == 0.5
    assert float(moved["head"]["kernel"][0]) == 1.0


def test_clipping_bounds_the_gradients_norm():
    clipped = optimisers.sgd(1.0, steps=1, momentum=0.0, clip=1.0)
    moved = stepped(clipped, lambda t, n: jax.tree.map(lambda p: 100 * jnp.ones_like(p), t), params(), 1)
    change = jax.tree.map(lambda a, b: a - b, moved, params())
    assert float(optax.tree.norm(change)) == pytest.approx(1.0)


def test_patterns_that_freeze_all_or_nothing_are_refused():
    with pytest.raises(UserError, match="leaves nothing to train"):
        optimisers.sgd(1.0, steps=1, freeze=("*",)).init(params())
    with pytest.raises(UserError, match="matches no parameter"):
        optimisers.sgd(1.0, steps=1, freeze=("encode/*",)).init(params())


def test_learning_rates_by_path_and_weight_decay_equal_torch_s_parameter_groups():
    """Caffe's multipliers in SegNet's prototxt: kernels decay; biases have twice the rate and no decay; shifts have the plain rate."""
    start = {
        "level": {"kernel": jnp.array([0.5, -1.0]), "bias": jnp.array([2.0])},
        "norm": {"scale": jnp.array([1.0]), "bias": jnp.array([0.3])},
    }
    rates = (("*norm*", 1.0), ("*bias", 2.0))
    ours = optimisers.sgd(0.1, steps=4, momentum=0.9, weight_decay=0.2, no_decay=("level/bias", "norm/bias"), rates=rates)
    moved = stepped(ours, lambda t, n: jax.tree.map(lambda p: p**2 + n, t), start, 4)
    theirs = {name: torch.nn.Parameter(torch.tensor(np.asarray(leaf))) for name, leaf in tree.flatten(start).items()}
    groups = [
        {"params": [theirs["level/kernel"], theirs["norm/scale"]], "weight_decay": 0.2},
        {"params": [theirs["level/bias"]], "lr": 0.2},
        {"params": [theirs["norm/bias"]]},
    ]
    other = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    for number in range(4):
        for weight in theirs.values():
            weight.grad = weight.detach() ** 2 + number
        other.step()
    for name, leaf in tree.flatten(moved).items():
        np.testing.assert_allclose(leaf, theirs[name].detach(), rtol=2e-6, err_msg=name)


def test_the_encoder_is_frozen_first_and_then_warms_up():
    """LP-FT in one run: with rate 1 and momentum 0, the encoder changes by 0 for three steps, then by 0, 1/2, 1 of the gradient."""
    ours = optimisers.sgd(1.0, steps=6, warmup=0, momentum=0.0, freeze=("encoder/*",), thaw=(3, 3))
    warmed = optimisers.sgd(1.0, steps=6, warmup=2, momentum=0.0, freeze=("encoder/*",), thaw=(3, 5))
    ones = lambda t, n: jax.tree.map(jnp.ones_like, t)  # noqa: E731
    for optimiser, encoder, head in ((ours, [0, 0, 0, 1, 1, 1], [1] * 6), (warmed, [0, 0, 0, 0, 0.5, 1], [0, 0.5, 1, 1, 1, 1])):
        weights, state = params(), optimiser.init(params())
        for number in range(6):
            updates, state = optimiser.update(ones(weights, number), state, weights)
            assert float(updates["encoder"]["level0"]["kernel"][0, 0]) == -encoder[number]
            assert float(updates["head"]["kernel"][0]) == -head[number]
            weights = optax.apply_updates(weights, updates)


def test_an_encoder_may_have_its_own_learning_rate_and_invalid_rates_are_refused():
    moved = stepped(
        optimisers.sgd(1.0, steps=1, momentum=0.0, rates=(("encoder/*", 0.1),)), lambda t, n: jax.tree.map(jnp.ones_like, t), params(), 1
    )
    assert float(moved["encoder"]["level0"]["kernel"][0, 0]) == pytest.approx(0.9)
    assert float(moved["head"]["kernel"][0]) == 1.0
    with pytest.raises(UserError, match=r"rates names 'encode/\*', which matches no parameter"):
        optimisers.sgd(1.0, steps=1, rates=(("encode/*", 0.1),)).init(params())
    with pytest.raises(UserError, match=r"the factor -1\.0; expected 0 or more"):
        optimisers.sgd(1.0, steps=1, rates=(("encoder/*", -1.0),))
    with pytest.raises(UserError, match=r"thaw=\(3, 4\) needs paths that stand still until then\. Set --config\.optimiser\.freeze"):
        optimisers.sgd(1.0, steps=1, thaw=(3, 4))
    with pytest.raises(UserError, match=r"the first at the full learning rate; got \(4, 3\)"):
        optimisers.sgd(1.0, steps=1, freeze=("encoder/*",), thaw=(4, 3))
