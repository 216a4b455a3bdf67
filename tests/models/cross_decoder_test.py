"""aeseg/models/cross_decoder.py, against torch's attention, norms and encoder layer with the same parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import torch

from aeseg import tree
from aeseg.models.cross_decoder import CrossDecoder
from tests import jitted

WIDTH, NUMBERS, VISIBLE, QUERIES = 8, 5, 6, 4
OURS = CrossDecoder(width=WIDTH, depth=1, heads=2)


def inputs():
    rng = np.random.default_rng(0)
    encoded = rng.normal(size=(3, 1 + VISIBLE, 12)).astype(np.float32)
    table = rng.normal(size=(3, VISIBLE, WIDTH)).astype(np.float32)
    kinds = rng.integers(0, 2, (3, VISIBLE))
    place = np.array([[2, 9, 0, 7], [9, 9, 9, 9], [5, 4, 3, 1]])
    where = rng.normal(size=(QUERIES, WIDTH)).astype(np.float32)
    present = np.array([6, 4, 6])
    arrays = (encoded, table, kinds.astype(np.int32), present.astype(np.int32))
    return (*map(jnp.asarray, arrays), (jnp.asarray(place), jnp.asarray(place < VISIBLE), jnp.asarray(where), 1), 2, NUMBERS)


def initial():
    variables = jitted.init(OURS, jax.random.key(0), *inputs(), train=False)
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.3, jnp.float32), variables)


def in_torch(params, given):
    """Bachmann et al. 2022, section 3.2: cross-attention, an MLP with a residual, a pre-norm block, a linear layer."""
    flat = {name: torch.tensor(np.array(leaf)) for name, leaf in tree.flatten(params).items()}

    def dense(name, tokens, index=()):
        return tokens @ flat[f"{name}/kernel"][index] + flat[f"{name}/bias"][index]

    def norm(name, tokens, index=()):
        return torch.nn.functional.layer_norm(tokens, (WIDTH,), flat[f"{name}/scale"][index], flat[f"{name}/bias"][index], 1e-6)

    encoded, table, kinds, present, (place, visible, where, kind), _, _ = (
        torch.tensor(np.array(each)) if isinstance(each, jax.Array) else each for each in given
    )
    place, visible, where = (torch.tensor(np.array(each)) for each in given[4][:3])
    tokens = dense("context", encoded)
    context = torch.cat([tokens[:, :1], tokens[:, 1:] + table + flat["modalities"][kinds.long()]], dim=1)
    rows = []
    for row in range(3):
        own = torch.stack([tokens[row, 1 + p] if seen else flat["mask_token"] for p, seen in zip(place[row], visible[row], strict=True)])
        rows.append(own + where + flat["modalities"][kind])
    query = norm("norm_queries", torch.stack(rows))
    context = norm("norm_context", context)
    attention = torch.nn.MultiheadAttention(WIDTH, 2, batch_first=True)
    parts = ("query", "key", "value")
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.cat([flat[f"{part}/kernel"].T for part in parts]))
        attention.in_proj_bias.copy_(torch.cat([flat[f"{part}/bias"] for part in parts]))
        attention.out_proj.weight.copy_(flat["projection/kernel"].T)
        attention.out_proj.bias.copy_(flat["projection/bias"])
    hidden = torch.arange(1 + VISIBLE)[None] >= 1 + present[:, None]
    values = attention(query, context, context, key_padding_mask=hidden, need_weights=False)[0]
    branch = torch.nn.functional.gelu(dense("expand", norm("norm_after", values)))
    values = values + dense("contract", branch)
    block = torch.nn.TransformerEncoderLayer(WIDTH, 2, 4 * WIDTH, 0.0, "gelu", 1e-6, batch_first=True, norm_first=True)
    named = {"linear1": "expand", "linear2": "contract", "self_attn.out_proj": "projection"}
    with torch.no_grad():
        block.self_attn.in_proj_weight.copy_(torch.cat([flat[f"blocks/{part}/kernel"][0].T for part in parts]))
        block.self_attn.in_proj_bias.copy_(torch.cat([flat[f"blocks/{part}/bias"][0] for part in parts]))
        for theirs, ours in named.items():
            module = block.get_submodule(theirs)
            module.weight.copy_(flat[f"blocks/{ours}/kernel"][0].T)
            module.bias.copy_(flat[f"blocks/{ours}/bias"][0])
        for theirs, ours in (("norm1", "norm_before"), ("norm2", "norm_after")):
            module = block.get_submodule(theirs)
            module.weight.copy_(flat[f"blocks/{ours}/scale"][0])
            module.bias.copy_(flat[f"blocks/{ours}/bias"][0])
    return dense("values", block(values)).detach()


def test_it_equals_torchs_cross_attention_and_block():
    variables = initial()
    found = jitted.apply(OURS, variables, *inputs(), train=False)
    np.testing.assert_allclose(found, in_torch(variables["params"], inputs()), rtol=1e-4, atol=1e-5)


def test_missing_tokens_change_nothing():
    variables, given = initial(), inputs()
    other = (given[0].at[1, 5:].set(9.0), *given[1:])
    np.testing.assert_array_equal(jitted.apply(OURS, variables, *given, train=False), jitted.apply(OURS, variables, *other, train=False))
    seen = (given[0].at[1, 4].set(9.0), *given[1:])
    assert np.any(jitted.apply(OURS, variables, *given, train=False) != jitted.apply(OURS, variables, *seen, train=False))
