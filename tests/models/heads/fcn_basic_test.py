import jax
import jax.numpy as jnp
import numpy as np
import pytest
from torch.nn import functional

from aeseg import images
from aeseg.models.encoders.vgg import VGG
from aeseg.models.heads import fcn_basic, segnet
from aeseg.spec import build
from aeseg.types import UserError
from tests import jitted
from tests.models import oracle
from tests.models.encoders.vgg_test import encoded
from tests.models.heads.unet_test import Network, pyramid, read


@pytest.mark.parametrize(
    ("fields", "strides"),
    [({}, [1, 4]), ({"addition": False}, [4]), ({"reduction": False}, [1, 4]), ({"addition": False, "learnt": False}, [4])],
)
def test_logits_are_at_the_finest_stride_and_depend_on_the_added_features(fields, strides):
    """Stride 2 adds the pooled features of stride 1; stride 1 adds nothing."""
    shapes, read_at = read(fcn_basic.FCNBasicHead(3, **fields), pyramid(1, 2, 4))
    assert shapes == {1: (1, 16, 16, 3)}
    assert read_at == {1: strides}


@pytest.mark.parametrize("head", [fcn_basic.recipe("small"), fcn_basic.recipe("unreduced"), segnet.recipe("addition")])
def test_only_pooled_features_of_the_encoder_are_added_and_none_at_the_finest_stride(head):
    """Badrinarayanan et al. 2017, figure 3: pixels that pooling leaves out do not affect the logits."""
    features = pyramid(1, 2, 4)
    variables = jitted.init(build(head), jax.random.key(0), features, train=False)
    logits = jitted.apply(build(head), variables, features, train=False)
    blocks = features[1].reshape(1, 8, 2, 8, 2, 4)
    left_out = jnp.where(blocks == blocks.max(axis=(2, 4), keepdims=True), blocks, blocks - 1).reshape(features[1].shape)
    np.testing.assert_array_equal(jitted.apply(build(head), variables, {**features, 1: left_out}, train=False)[1], logits[1])
    moved = jitted.apply(build(head), variables, {**features, 1: features[1] + 1}, train=False)
    assert np.any(moved[1] != logits[1])


@pytest.mark.parametrize("variant", ["small", "unadded", "unreduced", "plain", "bilinear"])
def test_each_variant_equals_torch_on_a_size_that_the_poolings_do_not_divide(variant):
    reduces, adds = variant not in ("unreduced", "plain"), variant in ("small", "unreduced")
    encoder = VGG(widths=(5, 5), convolutions=(1, 1), mean=(0.0,), std=(1.0,))
    image = oracle.image(2, 11, 14, 3)
    found, other = oracle.with_variables(Network(encoder, build(fcn_basic.recipe(variant, classes=4))), image)
    levels, features = encoded(other.within("encoder"), oracle.torch_image(image), (1, 1))
    head = other.within("head")
    features = head.convolved(features, "reduction4") if reduces else features
    for stride, finer, added in ((2, levels[1], oracle.pooled(levels[0])[0]), (1, levels[0], None)):
        if variant == "bilinear":
            features = functional.interpolate(features, scale_factor=2, mode="bilinear")
        else:
            features = head.transposed(features, f"up{stride}", padding=3)
        features = features[:, :, : finer.shape[2], : finer.shape[3]]
        if adds and added is not None:
            features = features + (head.convolved(added, f"reduction{stride}") if reduces else added)
    oracle.assert_equals(found[1], features if reduces else head.convolved(features, "logits"))


def test_bilinear_interpolation_upsamples_the_coarsest_scores():
    features = pyramid(1, 2, 4)
    head = fcn_basic.FCNBasicHead(3, addition=False, learnt=False)
    variables = jitted.init(head, jax.random.key(0), features, train=False)
    logits = jitted.apply(head, variables, features, train=False)
    kernel = variables["params"]["reduction4"]["kernel"][0, 0]
    twice = images.resize(images.resize(features[4] @ kernel, 8, 8), 16, 16)
    np.testing.assert_allclose(logits[1], twice, rtol=1e-5, atol=1e-6)


def test_a_single_stride_is_refused():
    with pytest.raises(UserError, match=r"FCNBasicHead joins features whose strides double .*; the encoder gives \[8\]. Take such"):
        jitted.init(fcn_basic.FCNBasicHead(2), jax.random.key(0), pyramid(8), train=False)
