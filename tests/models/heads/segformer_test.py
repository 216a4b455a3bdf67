import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn import functional

from aeseg import tree
from aeseg.models.encoders import mit
from aeseg.models.heads import segformer
from aeseg.spec import build
from aeseg.types import UserError
from tests import jitted
from tests.models.heads.unet_test import Network, pyramid, read

TOTALS = {
    "b0": (3_752_694, 3_716_971),
    "b1": (13_715_798, 13_680_075),
    "b2": (27_461_974, 27_355_083),
    "b3": (47_337_814, 47_230_923),
    "b4": (64_108_374, 64_001_483),
    "b5": (84_708_694, 84_601_803),
}


@pytest.mark.parametrize("size", TOTALS)
def test_with_its_encoder_it_has_the_published_number_of_parameters(size):
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1), "drop_path": jax.random.key(2)}
    for classes, count in zip((150, 11), TOTALS[size], strict=True):
        network = Network(build(mit.recipe(size)), build(segformer.recipe("b0" if size in ("b0", "b1") else "b2", classes)))
        assert tree.count(jax.eval_shape(lambda image, network=network: network.init(keys, image), image)["params"]) == count


def test_the_join_is_a_convolution_of_the_resized_and_concatenated_levels():
    random = np.random.default_rng(0)
    levels = [jnp.asarray(random.standard_normal((2, side, side, 3 + side), np.float32)) for side in (2, 4, 8)]
    join = segformer.Join(5)
    variables = join.init(jax.random.key(0), levels, 8, 8)
    resized = [functional.interpolate(torch.tensor(np.asarray(each)).permute(0, 3, 1, 2), (8, 8), mode="bilinear") for each in levels]
    kernel = torch.tensor(np.asarray(variables["params"]["kernel"])).permute(3, 2, 0, 1)
    theirs = functional.conv2d(torch.cat(resized, 1), kernel).permute(0, 2, 3, 1)
    np.testing.assert_allclose(join.apply(variables, levels, 8, 8), theirs, atol=1e-5)


def test_it_reads_the_four_coarsest_strides_or_the_given_strides():
    five = pyramid(1, 2, 4, 8, 16)
    for strides, seen in (((), [2, 4, 8, 16]), ((8, 4), [4, 8])):
        head = segformer.SegFormerHead(2, width=4, strides=strides)
        shapes, read_at = read(head, five)
        assert shapes == {seen[0]: (1, 16 // seen[0], 16 // seen[0], 2)}
        assert read_at == {seen[0]: seen}
    with pytest.raises(UserError, match=r"SegFormerHead reads stride 32; the encoder gives \[1, 2, 4, 8, 16\]"):
        jitted.init(segformer.SegFormerHead(2, strides=(4, 32)), jax.random.key(0), five, train=False)
