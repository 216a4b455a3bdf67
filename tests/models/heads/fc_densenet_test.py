import jax
import jax.numpy as jnp
import pytest
import torch

from aeseg import tree
from aeseg.models.encoders import fc_densenet as encoders
from aeseg.models.heads import fc_densenet as heads
from aeseg.spec import build
from aeseg.types import UserError
from tests import jitted
from tests.models import oracle
from tests.models.heads.unet_test import Network, pyramid, read


def network_shapes(size, h=360, w=480):
    network = Network(build(encoders.recipe(size)), build(heads.recipe(size, classes=11)))
    image = jax.ShapeDtypeStruct((1, h, w, 3), jnp.float32)
    return jax.eval_shape(lambda image: network.init_with_output(jax.random.key(0), image, False), image)


@pytest.mark.parametrize(
    ("size", "count", "published", "percent"),
    [("56", 1_376_795, 1.5, 8.5), ("67", 3_463_243, 3.5, 1.5), ("103", 9_322_091, 9.4, 1.0)],
)
def test_with_its_encoder_it_has_fewer_parameters_than_published_by_less_than_a_few_percent(size, count, published, percent):
    """Published in table 3, without a second digit; the layers and channels are those of table 2 (below)."""
    logits, variables = network_shapes(size)
    assert tree.count(variables["params"]) == count < 1e6 * published
    assert count == pytest.approx(1e6 * published, rel=percent / 100)
    assert logits[1].shape == (1, 360, 480, 11)


def test_the_network_equals_torch_on_a_size_that_the_poolings_do_not_divide():
    """Section 3, tables 1 and 2: sizes are 11 x 14, 6 x 7 and 3 x 4; upsampled features are cropped to the size of their skip."""
    encoder, head = encoders.FCDenseNet(depths=(1, 2, 2), growth=3, width=5), heads.FCDenseNetHead(4, depths=(2, 1), growth=3)
    image = oracle.image(2, 11, 14, 3)
    found, other = oracle.with_variables(Network(encoder, head), image)

    def layer(other, features):
        return other.convolved(torch.relu(other.normalised(features, "norm")), "convolution", padding="same")

    def block(other, features, depth):
        made = []
        for place in range(depth):
            made.append(layer(other.within(f"layer{place}"), torch.cat([features, *made], dim=1)))
        return torch.cat(made, dim=1)

    down, up, levels = other.within("encoder"), other.within("head"), []
    features = down.convolved((oracle.torch_image(image) - 0.45) / 0.25, "stem", padding="same")
    for level, depth in enumerate((1, 2)):
        levels.append(torch.cat([features, block(down.within(f"level{level}"), features, depth)], dim=1))
        features, _ = oracle.pooled(layer(down.within(f"down{level}"), levels[level]))
    made = block(down.within("bottleneck"), features, 2)
    for stride, finer, depth in ((2, levels[1], 2), (1, levels[0], 1)):
        h, w = finer.shape[2:]
        features = torch.cat([up.transposed(made, f"up{stride}")[:, :, :h, :w], finer], dim=1)
        made = block(up.within(f"level{stride}"), features, depth)
    oracle.assert_equals(found[1], up.convolved(torch.cat([features, made], dim=1), "logits"))


def test_the_blocks_have_the_channels_of_the_paper_s_table():
    """Table 2 with the authors' correction: channels after each block down, and before and after each block up."""
    _, variables = network_shapes("103")
    encoder, head = variables["params"]["encoder"], variables["params"]["head"]
    assert [encoder[f"down{level}"]["norm"]["scale"].shape[0] for level in range(5)] == [112, 192, 304, 464, 656]
    assert encoder["bottleneck"]["layer0"]["norm"]["scale"].shape == (656,)
    read_first = [head[f"level{stride}"]["layer0"]["norm"]["scale"].shape[0] for stride in (16, 8, 4, 2, 1)]
    assert [first + 16 * depth for first, depth in zip(read_first, (12, 10, 7, 5, 4), strict=True)] == [1088, 816, 576, 384, 256]
    assert head["logits"]["kernel"].shape == (1, 1, 256, 11)


def test_the_bottleneck_s_input_is_not_concatenated_to_its_output():
    encoder = encoders.FCDenseNet(depths=(1, 2), growth=4, width=6)
    image = jax.ShapeDtypeStruct((1, 7, 10, 3), jnp.float32)
    found, _ = jax.eval_shape(lambda image: encoder.init_with_output(jax.random.key(0), image, train=False), image)
    assert {stride: features.shape for stride, features in found.items()} == {1: (1, 7, 10, 10), 2: (1, 4, 5, 8)}


def test_logits_are_at_the_finest_stride_and_depend_on_every_stride():
    shapes, read_at = read(heads.FCDenseNetHead(3, depths=(1,), growth=4), pyramid(2, 4, 8))
    assert shapes == {2: (1, 8, 8, 3)}
    assert read_at == {2: [2, 4, 8]}


def test_depths_for_other_strides_are_refused():
    with pytest.raises(UserError, match=r"depths \(1, 2, 3\); the encoder gives 2 strides to upsample to, \[2, 1\]. Give one depth"):
        jitted.init(heads.FCDenseNetHead(2, depths=(1, 2, 3)), jax.random.key(0), pyramid(1, 2, 4), train=False)
