import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg.models.encoders import convnet
from aeseg.spec import build
from aeseg.types import UserError
from tests import jitted


def pyramid_shapes(encoder, h, w, channels=3):
    image = jax.ShapeDtypeStruct((2, h, w, channels), jnp.float32)
    pyramid, _ = jax.eval_shape(lambda image: encoder.init_with_output(jax.random.key(0), image, train=False), image)
    return {stride: features.shape for stride, features in pyramid.items()}


def test_the_pyramid_has_each_level_before_its_pooling_and_the_last_pooled_level():
    shapes = {1: (2, 24, 40, 64), 2: (2, 12, 20, 128), 4: (2, 6, 10, 256), 8: (2, 3, 5, 256)}
    assert pyramid_shapes(convnet.ConvNet(), 24, 40) == shapes


def test_a_bottleneck_is_at_the_last_stride():
    shapes = pyramid_shapes(build(convnet.recipe("unet")), 32, 32)
    assert shapes == {1: (2, 32, 32, 64), 2: (2, 16, 16, 128), 4: (2, 8, 8, 256), 8: (2, 4, 4, 512), 16: (2, 2, 2, 1024)}


def test_features_at_the_last_stride_are_the_pooled_features_of_the_level_above():
    image = jax.random.uniform(jax.random.key(0), (1, 8, 4, 3))
    pyramid, _ = build(convnet.recipe("tiny")).init_with_output(jax.random.key(1), image, train=False)
    np.testing.assert_array_equal(pyramid[4][0, 1, 0], np.max(pyramid[2][0, 2:4, 0:2], axis=(0, 1)))
    assert float(pyramid[1].min()) >= 0


def test_a_size_that_the_poolings_do_not_divide_is_refused_with_the_nearest_divisible_size():
    message = r"ConvNet with 3 poolings takes sizes divisible by 8; the image is 30 x 64. Resize or pad it to 32 x 64, or give"
    with pytest.raises(UserError, match=message):
        pyramid_shapes(convnet.ConvNet(), 30, 64)


def test_the_image_is_standardised_before_the_first_convolution():
    image = jax.random.uniform(jax.random.key(0), (1, 4, 4, 3))
    plain = convnet.ConvNet(widths=(4,))
    variables = jitted.init(plain, jax.random.key(1), image, train=False)
    expected = jitted.apply(plain, variables, (image - jnp.array([0.1, 0.2, 0.3]).reshape(1, 1, 1, 3)) / 0.5, train=False)
    found = jitted.apply(convnet.ConvNet(widths=(4,), mean=(0.1, 0.2, 0.3), std=(0.5,)), variables, image, train=False)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-6)


def test_a_mean_for_another_number_of_channels_is_refused():
    with pytest.raises(UserError, match=r"standardises 3 channels; the image has 1. Give mean one number, or one for each"):
        pyramid_shapes(convnet.ConvNet(mean=(0.1, 0.2, 0.3)), 8, 8, channels=1)


def test_batch_norm_updates_running_averages_only_in_training():
    image = jax.random.uniform(jax.random.key(0), (2, 8, 8, 3))
    encoder = convnet.ConvNet(widths=(4, 8), norm="batch")
    variables = jitted.init(encoder, jax.random.key(1), image, train=True)
    _, changed = jitted.apply(encoder, variables, image, train=True, mutable=["batch_stats"])
    before, after = jax.tree.leaves(variables["batch_stats"]), jax.tree.leaves(changed["batch_stats"])
    assert all(not np.array_equal(*pair) for pair in zip(before, after, strict=True))
    jitted.apply(encoder, variables, image, train=False)  # nothing is mutable: this would raise


def test_an_unknown_size_of_a_recipe_lists_the_known_sizes():
    with pytest.raises(UserError, match=r"no size 'huge'; it has tiny, small, reference, unet"):
        convnet.recipe("huge")
