import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from aeseg import tree
from aeseg.models.encoders import resnet
from aeseg.models.encoders.resnet import ResNet
from aeseg.spec import build
from aeseg.types import UserError
from tests import jitted
from tests.models.sparse_cases import pyramid_shapes, shapes

SIZES = {
    "resnet18": {"depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512], "layer_type": "basic"},
    "resnet34": {"depths": [3, 4, 6, 3], "hidden_sizes": [64, 128, 256, 512], "layer_type": "basic"},
    "resnet50": {"depths": [3, 4, 6, 3], "hidden_sizes": [256, 512, 1024, 2048], "layer_type": "bottleneck"},
    "resnet101": {"depths": [3, 4, 23, 3], "hidden_sizes": [256, 512, 1024, 2048], "layer_type": "bottleneck"},
}


@pytest.mark.parametrize("size", SIZES)
def test_it_has_as_many_parameters_as_transformers(size):
    with torch.device("meta"):
        theirs = transformers.ResNetModel(transformers.ResNetConfig(**SIZES[size]))
    ours = shapes(build(resnet.recipe(size)), 64, 64)
    assert tree.count(ours["params"]) == sum(parameter.numel() for parameter in theirs.parameters())
    assert tree.count(ours["batch_stats"]) == sum(buffer.numel() for buffer in theirs.buffers() if buffer.ndim)


def test_the_pyramid_has_the_stem_and_each_stage():
    expected = {2: (2, 32, 48, 8), 4: (2, 16, 24, 16), 8: (2, 8, 12, 32)}
    assert pyramid_shapes(ResNet(widths=(4, 8), depths=(1, 2), stem=8), 64, 96) == expected
    assert pyramid_shapes(ResNet(widths=(4, 8), depths=(1, 2), stem=8, bottleneck=False), 64, 96)[8] == (2, 8, 12, 8)


def test_widths_without_depths_are_refused():
    with pytest.raises(UserError, match=r"ResNet has 1 widths \(4,\) and 4 depths \(3, 4, 6, 3\). Give one of each for every stage"):
        ResNet(widths=(4,))


def test_batch_norm_averages_visible_positions_in_masked_training():
    encoder, image = ResNet(widths=(4,), depths=(1,), stem=4), jax.random.uniform(jax.random.key(0), (2, 16, 16, 3))
    variables = jitted.init(encoder, jax.random.key(1), image, train=False)
    hidden = jnp.array([[[True, False], [False, True]]] * 2)
    _, dense = jitted.apply(encoder, variables, image, train=True, mutable=["batch_stats"])
    _, sparse = jitted.apply(encoder, variables, image, train=True, mutable=["batch_stats"], hidden=hidden)
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool(jnp.any(a != b)), dense, sparse)))


def test_convolutions_are_initialised_as_in_torchvision_and_blocks_start_as_their_shortcuts():
    """Kaiming's normal with fan-out, deviation sqrt(2 / (k k out)), as in timm's init_weights; the last norm of a block has scale 0."""
    encoder = ResNet(widths=(64,), depths=(2,), stem=64)
    image = jnp.asarray(np.random.default_rng(0).random((2, 16, 16, 3)), jnp.float32)
    variables = jax.jit(lambda: encoder.init(jax.random.key(0), image, train=False))()
    block = variables["params"]["stage1"]["block1"]
    theirs = torch.nn.init.kaiming_normal_(torch.empty(64, 64, 3, 3), mode="fan_out", nonlinearity="relu").std()
    assert float(jnp.std(block["convolution2"]["kernel"])) == pytest.approx(float(theirs), rel=0.03)
    assert float(jnp.std(block["convolution3"]["kernel"])) == pytest.approx((2 / 256) ** 0.5, rel=0.03)
    assert [float(block[f"norm{number}"]["scale"].max()) for number in (1, 2, 3)] == [1, 1, 0]
    changed = jax.tree.map(lambda leaf: leaf, variables)
    changed["params"]["stage1"]["block1"]["convolution1"]["kernel"] *= 7
    same, other = (encoder.apply(each, image, train=False)[4] for each in (variables, changed))
    np.testing.assert_array_equal(same, other)


def test_a_saved_config_without_these_fields_is_initialised_as_the_code_was_then():
    old = {"target": "aeseg.models.encoders.resnet:ResNet", "widths": [4], "depths": [1], "stem": 4}
    assert (build(old).initialiser, build(old).zero_last) == ("he", False)
    with pytest.raises(UserError, match="initialiser is he_out or he; got 'xavier'"):
        ResNet(initialiser="xavier")


def test_in_training_a_dropped_branch_keeps_only_the_shortcut():
    """With rates 0 and .99, nearly all images keep only the shortcut of the second block."""
    encoder = ResNet(widths=(4,), depths=(2,), stem=4, bottleneck=False, zero_last=False)
    image = jnp.asarray(np.random.default_rng(0).random((64, 8, 8, 3)), jnp.float32)
    variables = jax.jit(lambda: encoder.init(jax.random.key(0), image[:1], train=False))()
    rngs = {"drop_path": jax.random.key(1)}
    dropped, _ = encoder.clone(drop_path=0.99).apply(variables, image, train=True, mutable=["batch_stats"], rngs=rngs)
    shortcut, _ = encoder.clone(depths=(1,)).apply(
        {name: {**leaves, "stage1": {"block0": leaves["stage1"]["block0"]}} for name, leaves in variables.items()},
        image,
        train=True,
        mutable=["batch_stats"],
    )
    alike = np.all(np.isclose(dropped[4], shortcut[4], atol=1e-5), axis=(1, 2, 3))
    assert 0.9 < alike.mean() <= 1
