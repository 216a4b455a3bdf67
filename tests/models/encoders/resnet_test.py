import jax
import jax.numpy as jnp
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
def test_it_has_as_many_parameters_as_that_of_transformers(size):
    with torch.device("meta"):
        theirs = transformers.ResNetModel(transformers.ResNetConfig(**SIZES[size]))
    ours = shapes(build(resnet.recipe(size)), 64, 64)
    assert tree.count(ours["params"]) == sum(parameter.numel() for parameter in theirs.parameters())
    assert tree.count(ours["batch_stats"]) == sum(buffer.numel() for buffer in theirs.buffers() if buffer.ndim)


def test_the_pyramid_holds_the_stem_and_each_stage():
    expected = {2: (2, 32, 48, 8), 4: (2, 16, 24, 16), 8: (2, 8, 12, 32)}
    assert pyramid_shapes(ResNet(widths=(4, 8), depths=(1, 2), stem=8), 64, 96) == expected
    assert pyramid_shapes(ResNet(widths=(4, 8), depths=(1, 2), stem=8, bottleneck=False), 64, 96)[8] == (2, 8, 12, 8)


def test_widths_without_depths_are_refused():
    with pytest.raises(UserError, match=r"ResNet has 1 widths \(4,\) and 4 depths \(3, 4, 6, 3\). Give one of each for every stage"):
        ResNet(widths=(4,))


def test_batch_norm_keeps_running_averages_of_visible_positions_in_masked_training():
    encoder, image = ResNet(widths=(4,), depths=(1,), stem=4), jax.random.uniform(jax.random.key(0), (2, 16, 16, 3))
    variables = jitted.init(encoder, jax.random.key(1), image, train=False)
    hidden = jnp.array([[[True, False], [False, True]]] * 2)
    _, dense = jitted.apply(encoder, variables, image, train=True, mutable=["batch_stats"])
    _, sparse = jitted.apply(encoder, variables, image, train=True, mutable=["batch_stats"], hidden=hidden)
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool(jnp.any(a != b)), dense, sparse)))
