import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg.models.encoders.dense import DenseEncoder
from aeseg.types import UserError
from tests import jitted


def test_every_feature_depends_on_every_pixel():
    image = jax.random.uniform(jax.random.key(0), (1, 8, 12, 1))
    encoder = DenseEncoder(hidden=(64,), width=16, stride=4)
    pyramid, variables = encoder.init_with_output(jax.random.key(1), image, train=False)
    assert {stride: features.shape for stride, features in pyramid.items()} == {4: (1, 2, 3, 16)}
    slope = jax.jacobian(lambda image: encoder.apply(variables, image, train=False)[4].sum(axis=(0, 3)))(image)
    assert np.all(slope != 0)


def test_one_cell_may_be_the_whole_image():
    pyramid, _ = DenseEncoder(stride=8).init_with_output(jax.random.key(0), jnp.zeros((2, 8, 8, 3)), train=False)
    assert pyramid[8].shape == (2, 1, 1, 16)


def test_an_image_of_another_size_than_at_initialisation_is_refused():
    encoder = DenseEncoder(hidden=(4,), width=2, stride=4)
    variables = jitted.init(encoder, jax.random.key(0), jnp.zeros((1, 8, 8, 3)), train=False)
    with pytest.raises(UserError, match=r"dense0 was made for 192 numbers in and 4 out; this image needs 384 and 4. Give it"):
        jitted.apply(encoder, variables, jnp.zeros((1, 8, 16, 3)), train=False)


def test_a_size_that_the_stride_does_not_divide_is_refused():
    with pytest.raises(UserError, match=r"DenseEncoder with stride 8 takes sizes divisible by 8; the image is 8 x 12. Resize"):
        jitted.init(DenseEncoder(), jax.random.key(0), jnp.zeros((1, 8, 12, 3)), train=False)
