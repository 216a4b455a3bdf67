import jax.numpy as jnp
import numpy as np
import torch

from aeseg.models.modalities.text import Text
from tests import jitted
from tests.models.modalities import cases

BATCH = cases.batch()


def test_every_byte_is_a_token_and_zeros_are_missing():
    variables, found = cases.check_tokens(Text(), BATCH, 8)
    np.testing.assert_array_equal(Text().present(BATCH), np.asarray(BATCH["caption"]) != 0)
    assert Text().present(BATCH).sum(axis=1).tolist() == [5, 6, 7, 8]
    changed = {**BATCH, "caption": BATCH["caption"].at[2, 4].set(ord("9"))}
    other = jitted.apply(Text(), variables, changed, 8, "float32")
    assert np.argwhere(np.any(np.asarray(other != found), axis=2)).tolist() == [[2, 4]]


def test_the_same_byte_at_another_position_is_another_token():
    _, found = cases.check_tokens(Text(), {**BATCH, "caption": jnp.full((4, 8), ord("a"), jnp.uint8)}, 8)
    assert len(np.unique(found[0], axis=0)) == 8


def test_the_error_equals_torchs_cross_entropy():
    values = np.random.default_rng(1).normal(size=(4, 8, 256)).astype(np.float32)
    target = torch.tensor(np.array(BATCH["caption"])).long().reshape(-1)
    expected = torch.nn.functional.cross_entropy(torch.tensor(values).reshape(-1, 256), target, reduction="none")
    np.testing.assert_allclose(Text().error(jnp.asarray(values), BATCH).reshape(-1), expected, rtol=1e-5)
