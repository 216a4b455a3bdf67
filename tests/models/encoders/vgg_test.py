import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from aeseg import images
from aeseg.models.encoders import vgg
from aeseg.spec import build
from aeseg.types import UserError
from tests import jitted
from tests.models import oracle


def encoded(other, image, convolutions):
    """Return, with torch, the outputs of each level before its pooling, fine to coarse, and the last pooled features."""
    levels, features = [], image
    for level, number in enumerate(convolutions):
        for place in range(number):
            features = other.convolved(features, f"level{level}/convolution{place}", padding="same")
            features = torch.relu(other.normalised(features, f"level{level}/norm{place}"))
        levels.append(features)
        features, _ = oracle.pooled(features)
    return levels, features


def test_an_odd_last_row_or_column_is_pooled_separately():
    image = jax.random.uniform(jax.random.key(0), (1, 5, 6, 3))
    pyramid, _ = build(vgg.recipe("tiny")).init_with_output(jax.random.key(1), image, train=False)
    assert {stride: features.shape[1:3] for stride, features in pyramid.items()} == {1: (5, 6), 2: (3, 3), 4: (2, 2)}
    np.testing.assert_array_equal(pyramid[4][0, 1, 1], pyramid[2][0, 2, 2])
    np.testing.assert_array_equal(pyramid[4][0, 0, 0], pyramid[2][0, :2, :2].max(axis=(0, 1)))


def test_it_reads_the_local_contrast_of_the_image():
    image = jax.random.uniform(jax.random.key(0), (2, 16, 16, 3))
    seeing = build(vgg.recipe("tiny")).clone(contrast=2.0)
    variables = jitted.init(seeing, jax.random.key(1), image, train=False)
    plain = seeing.clone(contrast=0.0, mean=(0.0,), std=(1.0,))
    expected = jitted.apply(plain, variables, images.local_contrast(image, 2.0), train=False)
    found = jitted.apply(seeing, variables, image, train=False)
    np.testing.assert_allclose(found[4], expected[4], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("size", "sigma"), [("basic", 3.0), ("bayesian_basic", 3.0), ("vgg16", 0.0), ("bayesian", 0.0)])
def test_segnet_basic_s_encoder_normalises_local_contrast_and_vgg16_s_does_not(size, sigma):
    """In the authors' prototxts the first layer of SegNet-Basic normalises (Caffe's LRN); SegNet has no such layer."""
    assert vgg.recipe(size).contrast == sigma


def test_levels_without_a_number_of_convolutions_are_refused():
    with pytest.raises(UserError, match=r"VGG needs one number of convolutions for each of its widths \(4, 8\); got \(1,\). Give as many"):
        vgg.VGG(widths=(4, 8), convolutions=(1,))


def test_unet_reads_it_at_sizes_that_the_poolings_do_not_divide():
    from aeseg.models.heads.unet import UNetHead

    image = jax.ShapeDtypeStruct((1, 45, 61, 3), jnp.float32)
    encoder, head = build(vgg.recipe("small")), UNetHead(classes=2)
    pyramid, _ = jax.eval_shape(lambda image: encoder.init_with_output(jax.random.key(0), image, train=False), image)
    logits, _ = jax.eval_shape(lambda pyramid: head.init_with_output(jax.random.key(0), pyramid, train=False), pyramid)
    assert logits[1].shape == (1, 45, 61, 2)
