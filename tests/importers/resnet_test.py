"""ResNet with timm's tensor names: values and gradients against transformers' ResNet, whose names the test maps to timm's."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from aeseg.importers import resnet as importer
from aeseg.importers.rules import from_foreign, to_foreign
from aeseg.models.encoders import resnet
from aeseg.models.encoders.resnet import ResNet
from aeseg.spec import build, differences, spec
from aeseg.types import UserError
from tests.importers.convnextv2_test import nchw, near, randomised

NAMES = (
    (r"embedder\.embedder\.convolution", "conv1"),
    (r"embedder\.embedder\.normalization", "bn1"),
    (r"encoder\.stages\.(\d+)\.layers", lambda match: f"layer{int(match[1]) + 1}"),
    (r"\.layer\.(\d+)\.convolution", lambda match: f".conv{int(match[1]) + 1}"),
    (r"\.layer\.(\d+)\.normalization", lambda match: f".bn{int(match[1]) + 1}"),
    (r"\.shortcut\.convolution", ".downsample.0"),
    (r"\.shortcut\.normalization", ".downsample.1"),
)


def timm_name(name):
    for pattern, new in NAMES:
        name = re.sub(pattern, new, name)
    return name


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(("kind", "h", "w"), [("basic", 24, 16), ("bottleneck", 16, 16)])
def test_features_and_gradients_equal_transformers(kind, h, w, train):
    wide = 4 if kind == "bottleneck" else 1
    config = {"embedding_size": 6, "hidden_sizes": [6 * wide, 8 * wide], "depths": [1, 2], "layer_type": kind}
    theirs = randomised(transformers.ResNetModel(transformers.ResNetConfig(**config)))
    with torch.no_grad():
        for name, buffer in theirs.named_buffers():
            if name.endswith("running_var"):
                buffer.copy_(buffer.abs() + 0.5)
    theirs.train(train)
    tensors = {timm_name(name): tensor.numpy().copy() for name, tensor in theirs.state_dict().items()}
    described = spec(ResNet, widths=(6, 8), depths=(1, 2), stem=6, bottleneck=kind == "bottleneck", mean=(0.0,), std=(1.0,))
    rules, module = importer.rules(described), build(described)
    image = jnp.asarray(np.random.default_rng(1).random((2, h, w, 3)), jnp.float32)
    shapes = jax.eval_shape(lambda: dict(module.init(jax.random.key(0), image, train=False)))
    variables = from_foreign(rules, tensors, {name: {"encoder": leaves} for name, leaves in shapes.items()})

    pixels = nchw(image).requires_grad_()
    expected = dict(zip((4, 8), theirs(pixels, output_hidden_states=True).hidden_states[-2:], strict=True))
    weights = {stride: np.random.default_rng(stride).normal(size=array.shape).astype(np.float32) for stride, array in expected.items()}
    sum((array * torch.from_numpy(weights[stride])).sum() for stride, array in expected.items()).backward()

    def loss(params, image):
        given = {"params": params["encoder"], "batch_stats": variables["batch_stats"]["encoder"]}
        pyramid, _ = module.apply(given, image, train=train, mutable=["batch_stats"])
        return sum(jnp.sum(pyramid[stride] * weights[stride].transpose(0, 2, 3, 1)) for stride in weights), pyramid

    (slopes, slope), pyramid = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(variables["params"], image)
    for stride, array in expected.items():
        near(pyramid[stride], array.detach().numpy().transpose(0, 2, 3, 1), f"stride {stride}")
    tolerance = 2e-4 if train else 5e-5  # gradients through statistics of few positions are small differences
    near(slope, pixels.grad.numpy().transpose(0, 2, 3, 1), "image", tolerance)
    ours = to_foreign(rules, {"params": slopes, "batch_stats": variables["batch_stats"]})
    for name, parameter in theirs.named_parameters():
        near(ours[timm_name(name)], parameter.grad.numpy(), name, tolerance)


def test_a_resnet_of_timm_survives_a_round_trip_with_its_name_and_statistics():
    told = {"architecture": "resnet18", "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}
    described = importer.spec_of(told)
    assert (described.depths, described.bottleneck, described.mean) == ((2, 2, 2, 2), False, (0.5, 0.5, 0.5))
    config = importer.config_of(described)
    assert (config["architecture"], config["num_features"]) == ("resnet18", 512)
    assert differences(importer.spec_of(config), described) == []
    small = spec(ResNet, widths=(4, 4), depths=(1, 1), stem=4, bottleneck=False)
    shapes = jax.eval_shape(lambda: dict(build(small).init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)), train=False)))
    random = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: random.random(leaf.shape, np.float32), {k: {"encoder": v} for k, v in shapes.items()})
    tensors = to_foreign(importer.rules(small), variables)
    assert {"conv1.weight", "layer1.0.bn2.num_batches_tracked", "layer2.0.downsample.1.running_var"} <= tensors.keys()
    assert "layer1.0.downsample.0.weight" not in tensors
    jax.tree.map(np.testing.assert_array_equal, from_foreign(importer.rules(small), tensors, variables), variables)


def test_a_resnet_without_a_name_is_refused():
    with pytest.raises(UserError, match=r"timm's ResNets are resnet18, .*, resnet101; this encoder is .* depths \(1, 1, 1\)"):
        importer.config_of(resnet.recipe("small"))
