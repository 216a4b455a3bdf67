import jax
import jax.numpy as jnp
import pytest

from aeseg import tree
from aeseg.models.encoders import enet as encoders
from aeseg.models.heads import enet as heads
from aeseg.spec import build
from aeseg.types import UserError
from tests.models.heads.unet_test import Network, pyramid, read


@pytest.mark.parametrize(("classes", "count"), [(11, 363_978), (12, 364_123), (20, 365_283)])
def test_with_its_encoder_it_has_about_the_published_number_of_parameters(classes, count):
    """Published: 0.37 M."""
    network = Network(build(encoders.recipe("enet")), build(heads.recipe("enet", classes=classes)))
    image = jax.ShapeDtypeStruct((1, 360, 480, 3), jnp.float32)
    logits, variables = jax.eval_shape(lambda image: network.init_with_output(jax.random.key(0), image, False), image)
    assert tree.count(variables["params"]) == count == pytest.approx(370_000, rel=0.02)
    assert {stride: found.shape for stride, found in logits.items()} == {1: (1, 360, 480, classes)}


def test_the_pyramid_holds_what_is_pooled_at_sizes_that_the_poolings_do_not_divide_too():
    encoder = build(encoders.recipe("enet"))
    image = jax.ShapeDtypeStruct((1, 45, 62, 3), jnp.float32)
    found, _ = jax.eval_shape(lambda image: encoder.init_with_output(jax.random.key(0), image, train=False), image)
    assert {stride: features.shape for stride, features in found.items()} == {2: (1, 23, 31, 16), 4: (1, 12, 16, 64), 8: (1, 6, 8, 128)}


def test_logits_stand_at_half_the_finest_stride_where_it_is_not_1():
    assert read(heads.ENetHead(3), pyramid(2, 4, 8))[0] == {1: (1, 16, 16, 3)}
    assert read(heads.ENetHead(3), pyramid(1, 2, 4))[0] == {1: (1, 16, 16, 3)}


def test_table_1_s_bottlenecks_follow_each_upsampling():
    features = pyramid(2, 4, 8)
    variables = jax.eval_shape(lambda: build(heads.recipe("enet")).init(jax.random.key(0), features, train=False))
    assert set(variables["params"]) == {"up4", "level4_0", "level4_1", "up2", "level2_0", "logits"}


def test_an_image_with_as_many_channels_as_the_initial_block_is_refused():
    encoder = build(encoders.recipe("tiny"))
    with pytest.raises(UserError, match=r"initial block has 8 channels, the image's 8 among them; none is left .* Give a larger first"):
        encoder.init(jax.random.key(0), jnp.zeros((1, 16, 16, 8)), train=False)
