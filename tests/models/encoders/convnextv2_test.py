import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg import tree
from aeseg.models.encoders import convnextv2
from aeseg.models.encoders.convnextv2 import ConvNeXtV2
from aeseg.spec import build
from aeseg.types import UserError
from tests import jitted
from tests.models.sparse_cases import pyramid_shapes, shapes

BACKBONES = {  # without the classifier's norm; measured and published, see the paper's table 9 and its repository
    "atto": 3_386_760,
    "femto": 4_847_472,
    "pico": 8_552_256,
    "nano": 14_981_520,
    "v2_tiny": 27_864_960,
    "base": 87_690_752,
    "large": 196_416_768,
    "huge": 657_467_008,
}
CLASSIFIERS = {
    "atto": 3_708_400,
    "femto": 5_233_240,
    "pico": 9_066_280,
    "nano": 15_623_800,
    "v2_tiny": 28_635_496,
    "base": 88_717_800,
    "large": 197_956_840,
    "huge": 660_289_640,
    "v1_tiny": 28_589_128,
    "v1_small": 50_223_688,
    "v1_base": 88_591_464,
}


@pytest.mark.parametrize("size", CLASSIFIERS)
def test_it_has_the_papers_parameter_counts(size):
    encoder = build(convnextv2.recipe(size))
    count = tree.count(shapes(encoder, 32, 32)["params"])
    assert count == BACKBONES.get(size, count)
    width = encoder.widths[-1]
    assert count + 2 * width + width * 1000 + 1000 == CLASSIFIERS[size]  # its norm, and a linear layer to 1000 classes


def test_the_pyramid_has_the_strides_of_stem_and_stages():
    assert pyramid_shapes(ConvNeXtV2(widths=(8, 16, 24), depths=(1, 2, 1)), 32, 48) == {
        4: (2, 8, 12, 8),
        8: (2, 4, 6, 16),
        16: (2, 2, 3, 24),
    }


def test_drop_path_drops_whole_branches_of_rows_and_only_in_training():
    encoder = ConvNeXtV2(widths=(8,), depths=(2,), stem=2, drop_path=0.5)
    image = jnp.broadcast_to(jax.random.uniform(jax.random.key(0), (1, 4, 4, 3)), (200, 4, 4, 3))
    variables = jitted.init(encoder, jax.random.key(1), image[:1], train=False)
    still = jitted.apply(encoder, variables, image, train=False)[2]
    np.testing.assert_allclose(still, np.broadcast_to(still[:1], still.shape), atol=1e-6)
    trained = np.asarray(jitted.apply(encoder, variables, image, train=True, rngs={"drop_path": jax.random.key(2)})[2])
    like_first = np.max(np.abs(trained - trained[:1]), axis=(1, 2, 3)) < 1e-5  # those like the first row, or those unlike it
    others = trained[~like_first]
    np.testing.assert_allclose(others, np.broadcast_to(others[:1], others.shape), atol=1e-5)
    assert 0.35 < like_first.mean() < 0.65
    np.testing.assert_allclose((trained[0] + others[0]) / 2, still[0], atol=1e-4)  # the branch is there twice as strong, or not at all


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depths": (1, 2)}, r"4 widths \(96, 192, 384, 768\) and 2 depths \(1, 2\). Give one of each for every stage"),
        ({"drop_path": 1.0}, "drop_path is a probability, 0 or more and less than 1; got 1.0"),
        ({"normed": (4, 64)}, r"ConvNeXtV2 gives strides \[4, 8, 16, 32\]; normed names \[64\]. Name strides that it gives"),
    ],
)
def test_conflicting_fields_are_named(fields, message):
    with pytest.raises(UserError, match=message):
        ConvNeXtV2(**fields)


def test_a_size_that_its_strides_do_not_divide_is_refused_with_the_nearest_divisible_size():
    message = "ConvNeXtV2 with coarsest stride 32 takes sizes divisible by 32; the image is 100 x 64. Resize or pad it to 96 x 64"
    with pytest.raises(UserError, match=message):
        pyramid_shapes(ConvNeXtV2(), 100, 64)
