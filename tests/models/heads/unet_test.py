import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from aeseg import tree
from aeseg.models.encoders import convnet
from aeseg.models.heads import unet
from aeseg.spec import build
from aeseg.types import UserError
from tests import jitted
from tests.models import oracle


class Network(nn.Module):
    encoder: nn.Module
    head: nn.Module

    @nn.compact
    def __call__(self, image, train=True):
        return self.head(self.encoder(image, train=train), train=train)


@pytest.mark.parametrize(
    ("channels", "classes", "fields", "count"),
    [
        (3, 2, {}, 31_031_810),
        (1, 2, {}, 31_030_658),
        (3, 2, {"norm": "batch", "use_bias": False}, 31_037_698),
        (3, 11, {"norm": "batch", "use_bias": False}, 31_038_283),
        (3, 11, {"norm": "batch"}, 31_044_171),
    ],
)
def test_with_its_encoder_it_has_the_published_number_of_parameters(channels, classes, fields, count):
    encoder, head = convnet.recipe("unet"), unet.recipe("reference", classes=classes)
    encoder.update(fields)
    head.update(fields)
    image = jax.ShapeDtypeStruct((1, 32, 32, channels), jnp.float32)
    variables = jax.eval_shape(lambda image: Network(build(encoder), build(head)).init(jax.random.key(0), image), image)
    assert tree.count(variables["params"]) == count


@pytest.mark.parametrize("fields", [{}, {"norm": "batch", "use_bias": False}, {"norm": "batch"}])
def test_the_network_equals_torch(fields):
    """Ronneberger et al. 2015, figure 1, with fewer channels, with and without batch norm."""
    encoder = convnet.ConvNet(widths=(3, 5), convolutions=2, bottleneck=6, **fields)
    image = oracle.image(2, 12, 16, 3)
    found, other = oracle.with_variables(Network(encoder, unet.UNetHead(4, **fields)), image)

    def block(within, features):
        for place in range(2):
            features = within.convolved(features, f"convolution{place}", padding="same")
            features = torch.relu(within.normalised(features, f"norm{place}") if fields else features)
        return features

    down, up = other.within("encoder"), other.within("head")
    fine = block(down.within("level0"), oracle.torch_image(image))
    coarse = block(down.within("level1"), oracle.pooled(fine)[0])
    features = block(down.within("bottleneck_level"), oracle.pooled(coarse)[0])
    for stride, passed in ((2, coarse), (1, fine)):
        features = block(up.within(f"level{stride}"), torch.cat([passed, up.transposed(features, f"up{stride}")], dim=1))
    oracle.assert_equals(found[1], up.convolved(features, "logits1"))


def pyramid(*strides, side=16, width=4):
    return {stride: jax.random.normal(jax.random.key(stride), (1, side // stride, side // stride, width)) for stride in strides}


def read(head, features):
    """Return ({stride: logits' shape}, {stride of logits: strides whose features they depend on})."""

    variables = jax.tree.map(jnp.asarray, oracle.variables_of(head, features))

    def logits(features):
        return head.apply(variables, features, train=False)

    @jax.jit
    def slopes(features):
        return {stride: jax.grad(lambda features, at=stride: jnp.sum(logits(features)[at] ** 2))(features) for stride in shapes}

    shapes = {stride: found.shape for stride, found in jax.eval_shape(logits, features).items()}
    found = slopes(features)
    return shapes, {at: [stride for stride, slope in found[at].items() if np.any(slope)] for at in shapes}


def test_logits_are_at_the_finest_stride_and_depend_on_every_stride():
    shapes, seen = read(unet.UNetHead(classes=3), pyramid(2, 4, 8))
    assert shapes == {2: (1, 8, 8, 3)}
    assert seen == {2: [2, 4, 8]}


def test_deep_supervision_also_gives_logits_at_coarser_strides():
    shapes, _ = read(unet.UNetHead(classes=3, deep_supervision=1), pyramid(1, 2, 4))
    assert shapes == {1: (1, 16, 16, 3), 2: (1, 8, 8, 3)}


@pytest.mark.parametrize(
    ("head", "strides", "message"),
    [
        (unet.UNetHead(2), (8,), r"UNetHead joins features whose strides double .*; the encoder gives \[8\]. Take such an encoder"),
        (unet.UNetHead(2), (2, 8), r"the encoder gives \[2, 8\]"),
        (unet.UNetHead(2, widths=(8,)), (1, 2, 4), r"has 1 widths \(8,\); the encoder gives 2 strides to upsample to, \[2, 1\]. Give one"),
        (unet.UNetHead(2, deep_supervision=2), (1, 2, 4), r"deep_supervision is at most 1; it is 2. Lower it, or give"),
    ],
)
def test_arguments_that_do_not_fit_the_pyramid_are_refused(head, strides, message):
    with pytest.raises(UserError, match=message):
        jitted.init(head, jax.random.key(0), pyramid(*strides), train=False)
