import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg.models import layers
from aeseg.models.decoders.convolutional import ConvolutionalDecoder
from aeseg.types import UserError
from tests import jitted


def test_it_equals_a_plain_sequence_of_its_layers():
    features = jax.random.normal(jax.random.key(0), (2, 3, 2, 5))
    decoder = ConvolutionalDecoder(widths=(6, 4), channels=3)
    image, variables = decoder.init_with_output(jax.random.key(1), {4: features}, train=False)
    plain = features
    for name, width in (("convolution0", 6), ("convolution1", 4), ("last", 3)):
        plain = jitted.apply(nn.Conv(width, (3, 3)), {"params": variables["params"][name]}, plain)
        plain = plain if name == "last" else layers.upsample(nn.relu(plain))
    assert image.shape == (2, 12, 8, 3)
    np.testing.assert_allclose(image, plain, atol=1e-5)
    assert float(image.min()) < 0  # unbounded: the method applies the sigmoid


def test_a_stride_that_the_encoder_lacks_is_named_with_its_strides():
    with pytest.raises(UserError, match=r"ConvolutionalDecoder reads stride 8; the encoder gives \[2, 4\]. Set"):
        jitted.init(ConvolutionalDecoder(), jax.random.key(0), {2: jnp.zeros((1, 4, 4, 3)), 4: jnp.zeros((1, 2, 2, 3))}, train=False)
