"""Masked mode: hidden pixels have no influence, and visible features equal a sparse convolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg import masking
from aeseg.models import layers, masked_modes, sparse
from aeseg.models.encoders.convnet import ConvNet
from aeseg.models.encoders.convnextv2 import ConvNeXtV2
from aeseg.models.encoders.resnet import ResNet
from aeseg.models.encoders.vgg import VGG
from aeseg.spec import build, names, recipe
from aeseg.types import UserError
from tests import jitted
from tests.contract import assert_equal

SPARSE = {
    "convnet": ConvNet(widths=(4, 8), bottleneck=8, norm="batch"),
    "convnet-group": ConvNet(widths=(4, 8), norm="group"),
    "convnextv2": ConvNeXtV2(widths=(4, 8), depths=(1, 2), stem=2, normed=(2, 4)),
    "convnextv1": ConvNeXtV2(widths=(4, 8), depths=(1, 1), stem=2, response_norm=False, layer_scale=0.5),
    "vgg": VGG(widths=(4, 8), convolutions=(1, 2)),
    "vgg-contrast": VGG(widths=(4, 8), convolutions=(1, 1), contrast=1.0),
    "resnet": ResNet(widths=(4,), depths=(2,), stem=4),
    "resnet-basic": ResNet(widths=(4,), depths=(2,), stem=4, bottleneck=False),
}
HIDDEN = jnp.array([[[True, False, True], [False, True, False]], [[False, False, True], [True, False, True]]])


def random_variables(encoder, image):
    """Draw every number at random: an offset or response norm of 0 would hide errors."""
    random = np.random.default_rng(1)
    shapes = jax.eval_shape(lambda: encoder.init(jax.random.key(0), image, train=False))
    return jax.tree.map(lambda leaf: jnp.asarray(random.uniform(0.2, 1, leaf.shape), leaf.dtype), shapes)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", SPARSE)
def test_hidden_pixels_change_nothing_and_the_pyramid_is_zero_there(name, train):
    encoder, image = SPARSE[name], jax.random.uniform(jax.random.key(2), (2, 16, 24, 3))
    at = masking.spread(HIDDEN, 8)[..., None]
    other = jnp.where(at, jnp.nan, image)
    variables = random_variables(encoder, image)
    run = jax.jit(lambda image: encoder.apply(variables, image, train=train, hidden=HIDDEN, mutable=["batch_stats"]))
    pyramid, statistics = run(image)
    assert_equal((pyramid, statistics), run(other))
    for stride, features in pyramid.items():
        hidden = np.asarray(masking.spread(HIDDEN, 8 // stride))
        assert np.all(np.asarray(features)[hidden] == 0)
        assert np.mean(np.asarray(features)[~hidden] != 0) > 0.3
    changed = run(image.at[0, 3, 12].add(0.5))[0]  # a visible pixel
    assert all(np.any(changed[stride] != pyramid[stride]) for stride in pyramid)


@pytest.mark.parametrize("name", SPARSE)
def test_without_hidden_units_it_equals_the_dense_encoder(name):
    encoder, image = SPARSE[name], jax.random.uniform(jax.random.key(2), (2, 16, 24, 3))
    variables = random_variables(encoder, image)
    dense = jitted.apply(encoder, variables, image, train=True, mutable=["batch_stats"])
    found = jitted.apply(encoder, variables, image, train=True, mutable=["batch_stats"], hidden=jnp.zeros_like(HIDDEN))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, dense)


def sparse_convolution(features, sites, kernel, stride):
    """Compute by hand: each visible output site sums the visible input sites under the kernel (SAME padding)."""
    (h, w, _), size = features.shape, kernel.shape[0]
    rows, columns = -(-h // stride), -(-w // stride)
    before = [max(0, (n - 1) * stride + size - side) // 2 for n, side in ((rows, h), (columns, w))]
    values = np.zeros((rows, columns, kernel.shape[3]))
    for i in range(rows):
        for j in range(columns):
            if not sites[i * stride, j * stride]:
                continue
            for y in range(size):
                for x in range(size):
                    row, column = i * stride + y - before[0], j * stride + x - before[1]
                    if 0 <= row < h and 0 <= column < w and sites[row, column]:
                        values[i, j] += features[row, column] @ kernel[y, x]
    return values


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (7, 1), (2, 2), (3, 2)])
def test_a_dense_convolution_on_zeroed_input_equals_the_sparse_convolution(size, stride):
    random = np.random.default_rng(0)
    features, kernel = random.normal(size=(1, 8, 12, 2)), random.normal(size=(size, size, 2, 3))
    hidden = HIDDEN[:1]
    sites = ~np.asarray(masking.spread(hidden, 4))[0]
    dense = layers.convolve(sparse.visible_only(jnp.asarray(features, jnp.float32), hidden), jnp.asarray(kernel, jnp.float32), stride)
    expected = sparse_convolution(features[0], sites, kernel, stride)
    np.testing.assert_allclose(sparse.visible_only(dense, hidden)[0], expected, rtol=1e-4, atol=1e-5)


def test_units_that_cut_through_positions_are_refused():
    image = jnp.zeros((1, 32, 64, 3))
    sparse.check_hidden(image, None, 16, "Net")
    sparse.check_hidden(image, jnp.zeros((1, 2, 4), bool), 16, "Net")
    message = r"Net hides squares of a multiple of its coarsest stride, 16 pixels; 4 x 8 units of an image of 32 x 64 are 8 x 8 pixels"
    with pytest.raises(UserError, match=message):
        sparse.check_hidden(image, jnp.zeros((1, 4, 8), bool), 16, "Net")
    with pytest.raises(UserError, match=r"are 16 x 32 pixels. Set the method's unit to a multiple of 16"):
        sparse.check_hidden(image, jnp.zeros((1, 2, 2), bool), 16, "Net")


def test_every_sparse_encoder_is_tested_here():
    kinds = {type(build(recipe(masked_modes.ENCODERS, name, "tiny"))) for name in names(masked_modes.ENCODERS)}
    assert {kind for kind in kinds if getattr(kind, "masked_mode", "none") == "sparse"} == {type(encoder) for encoder in SPARSE.values()}
