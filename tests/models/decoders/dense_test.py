import jax
import jax.numpy as jnp
import pytest

from aeseg.models.decoders.dense import DenseDecoder
from aeseg.types import UserError
from tests import jitted


def test_the_image_has_the_size_of_the_coarsest_features_times_their_stride():
    pyramid = {2: jnp.zeros((2, 8, 12, 3)), 8: jnp.zeros((2, 2, 3, 5))}
    image, variables = DenseDecoder(hidden=(7,), channels=1).init_with_output(jax.random.key(0), pyramid, train=False)
    assert image.shape == (2, 16, 24, 1)
    assert variables["params"]["dense0"]["kernel"].shape == (2 * 3 * 5, 7)


def test_a_pyramid_of_another_size_than_at_initialisation_is_refused():
    decoder = DenseDecoder(hidden=(7,))
    variables = jitted.init(decoder, jax.random.key(0), {4: jnp.zeros((1, 2, 2, 3))}, train=False)
    with pytest.raises(UserError, match=r"DenseDecoder has fully connected layers for one size of image: dense0 was made for 12"):
        jitted.apply(decoder, variables, {4: jnp.zeros((1, 2, 3, 3))}, train=False)
