import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from aeseg import tree
from aeseg.methods.segmenter import Segmenter
from aeseg.models.heads import upernet
from aeseg.models.neck import PyramidNeck
from aeseg.spec import build, recipe, spec
from aeseg.types import UserError
from tests import jitted
from tests.contract import batch
from tests.models.heads.unet_test import Network, pyramid, read


@pytest.mark.parametrize(("size", "count"), [("v1_tiny", 60_242_636), ("v1_base", 122_102_956)])
def test_on_convnext_it_has_the_published_number_of_parameters(size, count):
    encoder = recipe("aeseg.models.encoders", "convnextv2", size)
    encoder.normed = (4, 8, 16, 32)
    network = Network(build(encoder), build(upernet.recipe("reference", classes=150)))
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1), "drop_path": jax.random.key(2)}
    assert tree.count(jax.eval_shape(lambda image: network.init(keys, image), image)["params"]) == count


@pytest.mark.parametrize(("width", "count"), [(768, 163_288_364), (512, 127_657_772)])
def test_on_vit_b_with_a_neck_it_has_the_published_number_of_parameters(width, count):
    """MAE's segmentation (He et al. 2022, appendix A.4): blocks 3, 5, 7 and 11 of a ViT-B with learned positions at 512 x 512."""
    encoder = recipe("aeseg.models.encoders", "vit", "b16")
    encoder.update({"outputs": (3, 5, 7, 11), "positions": "learned", "grid": (32, 32)})
    head = upernet.recipe("reference", classes=150)
    head.width = width
    method = build(spec(Segmenter, encoder=encoder, head=head, classes=150, neck=(spec(PyramidNeck, blocks=4),)))
    row = {**batch(1), "image": jnp.zeros((1, 512, 512, 3)), "label": jnp.zeros((1, 512, 512), jnp.int32)}
    assert tree.count(jax.eval_shape(lambda: method.init(jax.random.key(0), row, train=False))["params"]) == count


@pytest.mark.parametrize(("size", "cells"), [((7, 10), 3), ((6, 6), 6), ((2, 5), 6), ((9, 4), 1)])
def test_pooling_into_cells_equals_torch_at_any_size(size, cells):
    features = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
    theirs = torch.nn.AdaptiveAvgPool2d(cells)(torch.tensor(features).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    np.testing.assert_allclose(upernet.adaptive_average_pool(jnp.asarray(features), cells), theirs, atol=1e-6)


def test_logits_are_at_the_finest_stride_and_depend_on_every_stride():
    shapes, seen = read(upernet.UPerNetHead(classes=3, width=4, pools=(1, 2)), pyramid(2, 4, 8))
    assert shapes == {2: (1, 8, 8, 3)}
    assert seen == {2: [2, 4, 8]}


def test_the_auxiliary_head_reads_only_the_second_coarsest_stride():
    head = upernet.UPerNetHead(classes=3, width=4, pools=(1,), deep_supervision=1, auxiliary_width=4)
    shapes, seen = read(head, pyramid(1, 2, 4))
    assert shapes == {1: (1, 16, 16, 3), 2: (1, 8, 8, 3)}
    assert seen == {1: [1, 2, 4], 2: [2]}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"deep_supervision": 2}, "one auxiliary head, so deep_supervision is 0 or 1; it is 2"),
        ({"deep_supervision": 1}, r"second coarsest of at least 3 strides; it reads \[4, 8\]. Set deep_supervision=0"),
        ({"strides": (16,)}, r"UPerNetHead reads stride 16; the encoder gives \[4, 8\]"),
    ],
)
def test_arguments_that_do_not_fit_the_pyramid_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        jitted.init(upernet.UPerNetHead(classes=2, **fields), jax.random.key(0), pyramid(4, 8), train=False)
