import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
import torch

from aeseg import tree
from aeseg.models.bottlenecks import Bottleneck, Downsampling, Upsampling
from aeseg.models.encoders import enet as encoders
from aeseg.models.heads import enet as heads
from aeseg.spec import build
from aeseg.types import UserError
from tests import jitted
from tests.models import oracle
from tests.models.bottlenecks_test import activated, bottleneck, downsampling, normalised, upsampling
from tests.models.heads.unet_test import Network, pyramid

REGULAR, ASYMMETRIC = ((3, 3),), ((5, 1), (1, 5))
SECTION = [(REGULAR, 1), (REGULAR, 2), (ASYMMETRIC, 1), (REGULAR, 4), (REGULAR, 1), (REGULAR, 8), (ASYMMETRIC, 1), (REGULAR, 16)]
"""Kernels and dilation of bottlenecks 2.1 to 2.8 and 3.1 to 3.8 of table 1."""


@pytest.mark.parametrize(
    ("size", "classes", "count"), [("enet", 11, 363_434), ("enet", 12, 363_499), ("enet", 20, 364_019), ("authors", 12, 363_163)]
)
def test_with_its_encoder_it_has_the_published_number_of_parameters_within_2_percent(size, classes, count):
    """Published: 0.37 M."""
    network = Network(build(encoders.recipe("enet")), build(heads.recipe(size, classes=classes)))
    image = jax.ShapeDtypeStruct((1, 360, 480, 3), jnp.float32)
    logits, variables = jax.eval_shape(lambda image: network.init_with_output(jax.random.key(0), image, False), image)
    assert tree.count(variables["params"]) == count == pytest.approx(370_000, rel=0.02)
    assert {stride: found.shape for stride, found in logits.items()} == {1: (1, 360, 480, classes)}


@pytest.mark.parametrize(("size", "decoder"), [("enet", (0.1, "prelu")), ("authors", (0.0, "relu"))])
def test_the_bottlenecks_are_as_in_table_1(size, decoder):
    network, found = Network(build(encoders.recipe("enet")), build(heads.recipe(size))), []

    def note(method, arguments, keywords, context):
        made = context.module
        if context.method_name == "__call__" and isinstance(made, Bottleneck):
            found.append((made.kernels, made.dilation, made.dropout, made.activation))
        elif context.method_name == "__call__" and isinstance(made, Downsampling | Upsampling):
            found.append((type(made).__name__, made.dropout))
        return method(*arguments, **keywords)

    with nn.intercept_methods(note):
        jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)), False))
    first = [("Downsampling", 0.01), *[(REGULAR, 1, 0.01, "prelu")] * 4]
    second = [("Downsampling", 0.1), *[(*kind, 0.1, "prelu") for kind in SECTION * 2]]
    further, up = (REGULAR, 1, *decoder), ("Upsampling", decoder[0])
    assert found == [*first, *second, up, further, further, up, further]


@pytest.mark.parametrize("fields", [{}, {"activation": "relu"}], ids=["prelu", "relu"])
def test_the_network_equals_torch_on_a_size_that_the_poolings_do_not_divide(fields):
    """Initial block, a section with all kinds of bottleneck, and the upsampling path; sizes 22 x 28, 11 x 14, 6 x 7 and 3 x 4."""
    encoder = encoders.ENet(widths=(5, 8, 12), first=1, section=(1, 2, 0), sections=1)
    image = oracle.image(2, 22, 28, 3)
    found, other = oracle.with_variables(Network(encoder, heads.ENetHead(4, bottlenecks=1, **fields)), image)

    def encoded(other, image):
        joined = torch.cat([other.convolved(image, "initial", stride=2, padding=1), oracle.pooled(image)[0]], dim=1)
        finest = activated(other, normalised(other, joined, "initial"), "initial")
        middle = bottleneck(other.within("first0"), downsampling(other.within("down1"), finest, 8))
        features = downsampling(other.within("down2"), middle, 12)
        for place, (kernels, dilation) in enumerate([(1, 1), (1, 2), (2, 1)]):
            features = bottleneck(other.within(f"second{place}"), features, kernels, dilation)
        return finest, middle, features

    finest, middle, features = encoded(other.within("encoder"), (oracle.torch_image(image) - 0.45) / 0.25)
    head = other.within("head")
    for stride, finer in ((4, middle), (2, finest)):
        features = upsampling(head.within(f"up{stride}"), features, finer)
        features = bottleneck(head.within(f"level{stride}_0"), features)
    oracle.assert_equals(found[1], head.transposed(features, "logits"))


def test_the_pyramid_has_the_pooled_features_also_at_sizes_that_the_poolings_do_not_divide():
    encoder = build(encoders.recipe("enet"))
    image = jax.ShapeDtypeStruct((1, 45, 62, 3), jnp.float32)
    found, _ = jax.eval_shape(lambda image: encoder.init_with_output(jax.random.key(0), image, train=False), image)
    assert {stride: features.shape for stride, features in found.items()} == {2: (1, 23, 31, 16), 4: (1, 12, 16, 64), 8: (1, 6, 8, 128)}


@pytest.mark.parametrize("strides", [(2, 4, 8), (1, 2, 4)])
def test_logits_are_at_half_the_finest_stride_unless_it_is_1(strides):
    logits, _ = jax.eval_shape(lambda: heads.ENetHead(3).init_with_output(jax.random.key(0), pyramid(*strides), train=False))
    assert {stride: found.shape for stride, found in logits.items()} == {1: (1, 16, 16, 3)}


def test_an_image_with_as_many_channels_as_the_initial_block_is_refused():
    encoder = build(encoders.recipe("tiny"))
    with pytest.raises(UserError, match=r"initial block has 8 channels, of which the image takes 8; .* Give a larger first"):
        jitted.init(encoder, jax.random.key(0), jnp.zeros((1, 16, 16, 8)), train=False)
