import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg.models.heads.linear import LinearHead
from aeseg.types import UserError
from tests import jitted


def test_logits_are_linear_in_the_features_once_trained():
    features = jax.random.normal(jax.random.key(0), (2, 3, 4, 5))
    head = LinearHead(classes=3, stride=4)
    variables = jitted.init(head, jax.random.key(1), {4: features}, train=True)

    def logits(features):
        return head.apply(variables, {4: features}, train=False)[4]

    assert logits(features).shape == (2, 3, 4, 3)
    np.testing.assert_allclose(logits(3 * features) - logits(0 * features), 3 * (logits(features) - logits(0 * features)), atol=1e-5)


def test_the_scale_of_the_features_does_not_matter_in_training():
    features = jax.random.normal(jax.random.key(0), (2, 8, 8, 5))
    head = LinearHead(classes=3, stride=4)
    logits, variables = head.init_with_output(jax.random.key(1), {4: features}, train=True)
    large, _ = jitted.apply(head, variables, {4: 100 * features + 7}, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(large[4], logits[4], atol=1e-3)


def test_a_stride_that_the_encoder_lacks_is_named_with_its_strides():
    with pytest.raises(UserError, match=r"LinearHead reads stride 8; the encoder gives \[2, 4\]. Set the stride of LinearHead"):
        jitted.init(LinearHead(classes=2), jax.random.key(0), {2: jnp.zeros((1, 4, 4, 3)), 4: jnp.zeros((1, 2, 2, 3))}, train=False)
