import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from aeseg import tree
from aeseg.models import neck
from aeseg.models.encoders.vit import ViT
from aeseg.models.neck import PyramidNeck
from aeseg.spec import build
from aeseg.types import UserError
from tests import jitted

FEATURES = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 6, 8)), jnp.float32)


def made(module, features, stride=16):
    variables = jitted.init(module, jax.random.key(0), {stride: features}, train=False)
    return variables, jitted.apply(module, variables, {stride: features}, train=False)


def test_four_blocks_give_four_strides_as_in_maes_segmentation_code():
    module = PyramidNeck(blocks=4)
    variables, pyramid = made(module, jnp.concatenate([FEATURES + place for place in range(4)], axis=-1))
    assert {stride: features.shape for stride, features in pyramid.items()} == {s: (2, 64 // s, 96 // s, 8) for s in (4, 8, 16, 32)}
    np.testing.assert_array_equal(pyramid[16], FEATURES + 2)
    np.testing.assert_array_equal(pyramid[32], nn.max_pool(FEATURES + 3, (2, 2), (2, 2)))

    def torch_up(name, image):
        kernel, bias = (np.array(variables["params"][name][part]) for part in ("kernel", "bias"))
        return torch.nn.functional.conv_transpose2d(image, torch.from_numpy(kernel.transpose(2, 3, 0, 1).copy()), torch.from_numpy(bias), 2)

    first, second = (torch.from_numpy(np.asarray(FEATURES + place).transpose(0, 3, 1, 2).copy()) for place in (0, 1))
    np.testing.assert_allclose(pyramid[8], torch_up("up8_0", second).permute(0, 2, 3, 1), atol=1e-5)
    between = torch.nn.functional.gelu(torch_up("up4_0", first) / (1 + 1e-5) ** 0.5)  # an initial batch norm
    np.testing.assert_allclose(pyramid[4], torch_up("up4_1", between).permute(0, 2, 3, 1), atol=1e-5)


def test_it_has_the_parameter_count_of_maes_neck():
    """BEiT's fpn1 (two up-convolutions and a batch norm) and fpn2 (one), at ViT-B's width."""
    shape = {16: jax.ShapeDtypeStruct((2, 32, 32, 4 * 768), jnp.float32)}
    variables = jax.eval_shape(lambda pyramid: PyramidNeck(blocks=4).init(jax.random.key(0), pyramid, train=False), shape)
    assert tree.count(variables["params"]) == 3 * (4 * 768**2 + 768) + 2 * 768


def test_one_block_gives_all_strides_down_to_1():
    module = build(neck.unet(8, 32))
    _, pyramid = made(module, FEATURES, 8)
    assert {stride: features.shape[1:] for stride, features in pyramid.items()} == {
        1: (32, 48, 8), 2: (16, 24, 8), 4: (8, 12, 16), 8: (4, 6, 32),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: PyramidNeck((4, 8), blocks=3),
            r"makes the strides \[4, 8\]; the number of its blocks is 3. Give one for each stride, or 1",
        ),
        (lambda: PyramidNeck((4, 8), widths=(3,)), r"the number of its widths is 1. Give one for each stride, or \(\)"),
        (lambda: PyramidNeck(blocks=4).check(ViT(8, 2, 2, 4)), "expects features of 4 blocks; the encoder gives 1"),
        (lambda: PyramidNeck().check(ViT(8, 2, 2, 4, outputs=(0, 1))), "expects features of 1 blocks; the encoder gives 2"),
        (lambda: made(PyramidNeck(), FEATURES, 14), "needs strides that are 14 times a power of 2; got 4"),
        (lambda: PyramidNeck().init(jax.random.key(0), {2: FEATURES, 4: FEATURES}, train=False), r"the encoder gives \[2, 4\]. Leave out"),
    ],
)
def test_arguments_that_do_not_fit_are_named(make, message):
    with pytest.raises(UserError, match=message):
        make()
