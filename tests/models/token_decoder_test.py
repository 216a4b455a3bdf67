import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg.models.token_decoder import TokenDecoder
from aeseg.types import UserError
from tests import jitted

HIDDEN = jnp.asarray([[[1, 0, 1], [1, 1, 0]], [[0, 1, 1], [0, 1, 1]]], bool)
TOKENS = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 6)), jnp.float32)  # a class token and two visible patches
SMALL = TokenDecoder(width=8, depth=1, heads=2)


def test_visible_tokens_return_to_their_positions():
    """If the mask tokens are filled in by hand, the decoder fills in nothing and gives the same."""
    variables = jitted.init(SMALL, jax.random.key(0), TOKENS, HIDDEN, 1, 5, train=False)
    stands_for = jnp.arange(6.0)
    embed = variables["params"]["embed"]
    token = (stands_for @ embed["kernel"] + embed["bias"]).reshape(1, 1, 8)
    variables = {"params": {**variables["params"], "mask_token": token}}
    whole = np.tile(stands_for, (2, 7, 1))
    for row in range(2):
        whole[row, 0] = TOKENS[row, 0]
        whole[row, 1:][~np.asarray(HIDDEN[row]).reshape(-1)] = TOKENS[row, 1:]
    values = jitted.apply(SMALL, variables, TOKENS, HIDDEN, 1, 5, train=False)
    assert values.shape == (2, 2, 3, 5)
    np.testing.assert_allclose(values, jitted.apply(SMALL, variables, jnp.asarray(whole), HIDDEN, 1, 5, train=False), atol=1e-5)


def test_positions_are_fixed_or_learned():
    with pytest.raises(UserError, match="positions is one of fixed, learned; got 'none'"):
        TokenDecoder(positions="none")
