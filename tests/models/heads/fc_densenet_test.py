import jax
import jax.numpy as jnp
import pytest

from aeseg import tree
from aeseg.models.encoders import fc_densenet as encoders
from aeseg.models.heads import fc_densenet as heads
from aeseg.spec import build
from aeseg.types import UserError
from tests.models.heads.unet_test import Network, pyramid, read


def network_shapes(size, h=360, w=480):
    network = Network(build(encoders.recipe(size)), build(heads.recipe(size, classes=11)))
    image = jax.ShapeDtypeStruct((1, h, w, 3), jnp.float32)
    return jax.eval_shape(lambda image: network.init_with_output(jax.random.key(0), image, False), image)


@pytest.mark.parametrize(("size", "count"), [("56", 1_376_795), ("67", 3_463_243), ("103", 9_322_091)])
def test_with_its_encoder_it_has_the_published_number_of_parameters(size, count):
    logits, variables = network_shapes(size)
    assert tree.count(variables["params"]) == count
    assert logits[1].shape == (1, 360, 480, 11)


def test_the_blocks_have_the_channels_of_the_paper_s_table():
    """Table 2 with the authors' correction: after each block going down, and what each block going up reads and ends with."""
    _, variables = network_shapes("103")
    encoder, head = variables["params"]["encoder"], variables["params"]["head"]
    assert [encoder[f"down{level}"]["norm"]["scale"].shape[0] for level in range(5)] == [112, 192, 304, 464, 656]
    assert encoder["bottleneck"]["layer0"]["norm"]["scale"].shape == (656,)
    read_first = [head[f"level{stride}"]["layer0"]["norm"]["scale"].shape[0] for stride in (16, 8, 4, 2, 1)]
    assert [first + 16 * depth for first, depth in zip(read_first, (12, 10, 7, 5, 4), strict=True)] == [1088, 816, 576, 384, 256]
    assert head["logits"]["kernel"].shape == (1, 1, 256, 11)


def test_the_bottleneck_s_input_is_left_behind():
    encoder = encoders.FCDenseNet(depths=(1, 2), growth=4, width=6)
    image = jax.ShapeDtypeStruct((1, 7, 10, 3), jnp.float32)
    found, _ = jax.eval_shape(lambda image: encoder.init_with_output(jax.random.key(0), image, train=False), image)
    assert {stride: features.shape for stride, features in found.items()} == {1: (1, 7, 10, 10), 2: (1, 4, 5, 8)}


def test_logits_stand_at_the_finest_stride_and_depend_on_every_stride():
    shapes, read_at = read(heads.FCDenseNetHead(3, depths=(1,), growth=4), pyramid(2, 4, 8))
    assert shapes == {2: (1, 8, 8, 3)}
    assert read_at == {2: [2, 4, 8]}


def test_depths_for_other_strides_are_refused():
    with pytest.raises(UserError, match=r"depths \(1, 2, 3\); the encoder gives 2 strides to climb to, \[2, 1\]. Give one depth"):
        heads.FCDenseNetHead(2, depths=(1, 2, 3)).init(jax.random.key(0), pyramid(1, 2, 4), train=False)
