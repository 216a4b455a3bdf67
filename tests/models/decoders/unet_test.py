import jax
import numpy as np

from aeseg.models.decoders.unet import UNetDecoder
from aeseg.models.heads.unet import UNetHead
from tests import jitted


def test_it_equals_the_head_with_channels_instead_of_classes():
    pyramid = {stride: jax.random.normal(jax.random.key(stride), (1, 8 // stride, 8 // stride, 3 + stride)) for stride in (1, 2, 4)}
    decoder = UNetDecoder(convolutions=1, channels=3)
    image, variables = decoder.init_with_output(jax.random.key(0), pyramid, train=False)
    logits = jitted.apply(UNetHead(classes=3, convolutions=1), {"params": variables["params"]["path"]}, pyramid, train=False)
    assert image.shape == (1, 8, 8, 3)
    np.testing.assert_array_equal(image, logits[1])


def test_with_zeros_its_first_values_are_0_and_its_last_layer_learns():
    pyramid = {stride: jax.random.normal(jax.random.key(stride), (1, 8 // stride, 8 // stride, 4)) for stride in (1, 2)}
    decoder = UNetDecoder(convolutions=1, initialiser="zeros")
    image, variables = decoder.init_with_output(jax.random.key(0), pyramid, train=False)
    np.testing.assert_array_equal(image, 0)
    gradient = jax.grad(lambda variables: decoder.apply(variables, pyramid, train=False).sum())(variables)
    assert np.any(gradient["params"]["path"]["logits1"]["kernel"], axis=-1).mean() > 0.5
