import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg.models.heads.fcn import FCNHead
from aeseg.types import UserError
from tests import jitted


def test_one_stride_gives_logits_at_that_stride():
    logits, _ = FCNHead(classes=3, width=4).init_with_output(jax.random.key(0), {8: jnp.ones((1, 2, 3, 5))}, train=False)
    assert {stride: found.shape for stride, found in logits.items()} == {8: (1, 2, 3, 3)}


def test_scores_of_finer_strides_are_added_to_the_upsampled_scores():
    features = {stride: jax.random.normal(jax.random.key(stride), (1, 8 // stride, 8 // stride, 5)) for stride in (2, 4)}
    head = FCNHead(classes=3, width=4, strides=(4, 2))
    logits, variables = head.init_with_output(jax.random.key(0), features, train=False)
    only_coarse = jitted.apply(head, variables, {**features, 2: jnp.zeros_like(features[2])}, train=False)[2]
    score = variables["params"]["logits2"]
    np.testing.assert_allclose(logits[2] - only_coarse, features[2] @ score["kernel"][0, 0], atol=1e-5)
    assert logits[2].shape == (1, 4, 4, 3)


def test_a_stride_that_the_encoder_lacks_is_named_with_its_strides():
    with pytest.raises(UserError, match=r"FCNHead reads stride 2; the encoder gives \[4\]. Set"):
        jitted.init(FCNHead(classes=2, strides=(4, 2)), jax.random.key(0), {4: jnp.zeros((1, 4, 4, 3))}, train=False)


def test_an_empty_list_of_strides_is_refused():
    with pytest.raises(UserError, match=r"FCNHead reads at least one stride; its strides are \(\). Name strides"):
        jitted.init(FCNHead(classes=2, strides=()), jax.random.key(0), {4: jnp.zeros((1, 4, 4, 3))}, train=False)
