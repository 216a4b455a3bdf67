import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg import tree
from aeseg.models.encoders import mit
from aeseg.spec import build
from aeseg.types import UserError


@pytest.mark.parametrize(
    ("size", "count"),
    [("b0", 3_319_392), ("b1", 13_151_424), ("b2", 24_196_288), ("b3", 44_072_128), ("b4", 60_842_688), ("b5", 81_443_008)],
)
def test_the_paper_s_sizes_have_the_published_number_of_parameters(size, count):
    encoder, image = build(mit.recipe(size)), jax.ShapeDtypeStruct((1, 64, 96, 3), jnp.float32)
    pyramid, variables = jax.eval_shape(lambda image: encoder.init_with_output(jax.random.key(0), image, train=False), image)
    assert tree.count(variables["params"]) == count
    assert {stride: features.shape[1:3] for stride, features in pyramid.items()} == {4: (16, 24), 8: (8, 12), 16: (4, 6), 32: (2, 3)}


def test_drop_path_drops_whole_branches_of_some_images():
    block = mit.Block(heads=1, reduction=1, ratio=1, drops=True, dtype="float32")
    image = jnp.broadcast_to(jax.random.normal(jax.random.key(0), (1, 2, 2, 4)), (16, 2, 2, 4))
    keys = {"params": jax.random.key(1), "drop_path": jax.random.key(2)}
    features = jax.jit(lambda rate: block.init_with_output(keys, image, rate)[0][0])
    dropped, still = (np.asarray(features(jnp.float32(rate))).reshape(16, -1).round(4) for rate in (0.5, 0.0))
    kinds = np.unique(dropped, axis=0)
    assert 3 <= len(kinds) <= 4  # none, one, the other or both of the two branches
    assert np.any(np.all(kinds == np.asarray(image[:1]).reshape(1, -1).round(4), axis=1)), "both left out: the image itself"
    assert len(np.unique(still, axis=0)) == 1


@pytest.mark.parametrize(
    ("fields", "size", "message"),
    [
        ({}, (48, 64), r"MiT with strides \[4, 8, 16, 32\] takes sizes divisible by 32; the image is 48 x 64. Resize or pad it to 64 x 64"),
        ({"depths": (1, 1)}, (32, 32), r"one number for each stage in widths, depths, .*'depths': 2.*Give all the same length"),
        ({"heads": (3, 1, 1, 1)}, (32, 32), "must be divisible by its heads; got 32 and 3"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(fields, size, message):
    with pytest.raises(UserError, match=message):
        jax.eval_shape(lambda: mit.MiT(**fields).init(jax.random.key(0), jnp.zeros((1, *size, 3)), train=False))
