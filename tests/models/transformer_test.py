import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg.models import transformer
from tests import jitted


class Stack(nn.Module):
    fields: dict
    depth: int = 3

    @nn.compact
    def __call__(self, tokens, train=False):
        return transformer.blocks(tokens, self.depth, 2, dtype="float32", train=train, **self.fields)


TOKENS = jnp.asarray(np.random.default_rng(0).normal(size=(64, 5, 8)), jnp.float32)


def variables(**fields):
    start = jitted.init(Stack(fields), jax.random.key(0), TOKENS[:1])
    return jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(1), leaf.shape), start)


def plain(params, tokens):
    """Compute the same blocks in a loop, with every layer written out."""

    def norm(x, p):
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) / np.sqrt(variance + 1e-6) * p["scale"] + p["bias"]

    def linear(x, p):
        return x @ p["kernel"] + p["bias"]

    for layer in range(3):
        p = jax.tree.map(lambda leaf, layer=layer: np.asarray(leaf[layer], np.float64), params["blocks"])
        x = norm(tokens, p["norm_before"])
        query, key, value = (linear(x, p[name]).reshape(*x.shape[:2], 2, 4) for name in ("query", "key", "value"))
        weights = np.asarray(jax.nn.softmax(np.einsum("bnhd,bmhd->bhnm", query, key) / 2, axis=-1))
        x = np.einsum("bhnm,bmhd->bnhd", weights, value).reshape(x.shape)
        tokens = tokens + p.get("attention_scale", 1) * linear(x, p["projection"])
        x = linear(norm(tokens, p["norm_after"]), p["expand"])
        x = x * 0.5 * (1 + np.asarray(jax.scipy.special.erf(x / 2**0.5)))
        tokens = tokens + p.get("mlp_scale", 1) * linear(x, p["contract"])
    return tokens


@pytest.mark.parametrize("fields", [{}, {"layer_scale": 0.1, "remat": True}])
def test_the_blocks_equal_a_plain_loop(fields):
    weights = variables(**fields)
    tokens, _ = jitted.apply(Stack(fields), weights, TOKENS[:2])
    np.testing.assert_allclose(tokens, plain(weights["params"], np.asarray(TOKENS[:2])), rtol=1e-4, atol=1e-5)


def test_remat_changes_no_gradient():
    weights = variables()

    def loss(params, remat):
        return jnp.sum(jnp.sin(Stack({"remat": remat}).apply({"params": params}, TOKENS[:2])[0]))

    kept, again = (jax.grad(loss)(weights["params"], remat) for remat in (False, True))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), kept, again)


def test_collected_tokens_are_the_outputs_of_each_block():
    tokens, every = jitted.apply(Stack({"collects": True}), variables(), TOKENS)
    assert every.shape == (3, *TOKENS.shape)
    np.testing.assert_array_equal(every[2], tokens)


def test_drop_path_drops_branches_of_whole_images_more_often_in_later_blocks():
    weights = variables()
    fields = {"drop_path": 0.8, "collects": True}
    many = jnp.tile(TOKENS, (16, 1, 1))
    _, every = jitted.apply(Stack(fields), weights, many, True, rngs={"drop_path": jax.random.key(0)})
    before = jnp.concatenate([many[None], every[:-1]])
    untouched = np.asarray(jnp.all(every == before, axis=(2, 3)).mean(axis=1))  # both branches dropped: rate^2
    np.testing.assert_allclose(untouched, [0, 0.16, 0.64], atol=0.05)
    evaluated, _ = jitted.apply(Stack({"drop_path": 0.8}), weights, TOKENS)
    np.testing.assert_array_equal(evaluated, jitted.apply(Stack({}), weights, TOKENS)[0])


def test_drop_path_keeps_the_mean():
    fields = {"drop_path": 0.5}
    single = Stack(fields, depth=2)
    start = jitted.init(single, jax.random.key(0), TOKENS[:1])
    start["params"]["blocks"]["contract"] = jax.tree.map(jnp.zeros_like, start["params"]["blocks"]["contract"])  # only attention
    same = jnp.broadcast_to(TOKENS[:1], (4000, 5, 8))
    dropped, _ = jitted.apply(single, start, same, True, rngs={"drop_path": jax.random.key(0)})
    np.testing.assert_allclose(dropped.mean(axis=0), jitted.apply(single, start, TOKENS[:1])[0][0], atol=0.05)


def test_the_last_layers_of_deeper_blocks_are_initialised_smaller_as_in_beit_and_simmim():
    """SimMIM's fix_init_weight: normal with deviation .02; attn.proj and mlp.fc2 of block l, from 1, divided by sqrt(2 l)."""
    tokens = jnp.zeros((1, 5, 128))
    start = jax.jit(lambda: Stack({"initialiser": "depth"}).init(jax.random.key(0), tokens))()["params"]["blocks"]
    for name in ("query", "key", "value", "expand", "projection", "contract"):
        deviations = np.std(np.asarray(start[name]["kernel"]), axis=(1, 2))
        expected = 0.02 / np.sqrt(2 * np.arange(1, 4)) if name in ("projection", "contract") else np.full(3, 0.02)
        np.testing.assert_allclose(deviations, expected, rtol=0.03, err_msg=name)
