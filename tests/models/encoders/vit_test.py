import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg import positions, tree
from aeseg.methods.segmenter import Segmenter
from aeseg.models import neck
from aeseg.models.encoders import vit
from aeseg.models.encoders.vit import ViT
from aeseg.models.heads.fcn import FCNHead
from aeseg.models.heads.linear import LinearHead
from aeseg.models.heads.unet import UNetHead
from aeseg.spec import build
from aeseg.types import UserError
from tests import contract, jitted

IMAGE = jnp.asarray(np.random.default_rng(0).random((2, 16, 24, 3)), jnp.float32)
HIDDEN = jnp.asarray([[[1, 0, 1], [1, 1, 1]], [[0, 1, 1], [1, 1, 1]]], bool)
SMALL = {"width": 8, "depth": 3, "heads": 2, "patch": 4}


def initial(encoder, image=IMAGE, **call):
    return jax.jit(lambda: encoder.init(jax.random.key(0), image, train=False, **call))()


@pytest.mark.parametrize(
    ("size", "count"),
    [("ti16", 5_524_416 - 37_824), ("s16", 21_665_664 - 75_648), ("b16", 85_647_360), ("l16", 303_099_904), ("h14", 630_435_840)],
)
def test_the_papers_sizes_have_their_parameters(size, count):
    """B, L, H: MAE's encoders.  Ti, S: DeiT's backbones (timm's without the classifier), less their learned positions."""
    variables, _ = contract.traced("encoder", "vit", size)
    assert tree.count(variables) == count


def test_any_image_that_the_patch_divides_gives_features_at_one_stride():
    encoder = ViT(**SMALL)
    variables = initial(encoder)
    for h, w in ((4, 4), (8, 20)):
        assert jitted.apply(encoder, variables, IMAGE[:, :h, :w], train=False)[4].shape == (2, h // 4, w // 4, 8)
    with pytest.raises(UserError, match=r"patches of 4 takes sizes divisible by 4; the image is 15 x 24.*to 16 x 24"):
        jitted.apply(encoder, variables, IMAGE[:, :15], train=False)


def test_the_tokens_of_visible_patches_are_those_of_an_encoder_that_hides_nothing_where_nothing_is_hidden():
    encoder = ViT(**SMALL)
    variables = initial(encoder)
    nothing = jnp.zeros((2, 4, 6), bool)
    tokens = jitted.apply(encoder, variables, IMAGE, nothing, 24, train=False, method="embed_visible")
    np.testing.assert_allclose(tokens, jitted.apply(encoder, variables, IMAGE, train=False, method="embed"), atol=1e-6)
    features = jitted.apply(encoder, variables, IMAGE, train=False)[4]
    np.testing.assert_array_equal(features.reshape(2, 24, 8), jitted.apply(encoder, variables, IMAGE, train=False, method="embed")[:, 1:])


def test_hidden_pixels_change_no_bit_of_the_output():
    encoder = ViT(**SMALL, has_mask_token=True)
    variables = initial(encoder, hidden=HIDDEN)
    pixels = np.repeat(np.repeat(HIDDEN, 8, axis=1), 8, axis=2)[..., None]
    other = jnp.where(pixels, 7.0, IMAGE)
    first, second = (jitted.apply(encoder, variables, image, train=False, hidden=HIDDEN)[4] for image in (IMAGE, other))
    np.testing.assert_array_equal(first, second)
    assert np.any(jitted.apply(encoder, variables, other, train=False)[4] != jitted.apply(encoder, variables, IMAGE, train=False)[4])
    patches = jnp.repeat(jnp.repeat(HIDDEN, 2, axis=1), 2, axis=2)
    first, second = (jitted.apply(encoder, variables, image, patches, 4, train=False, method="embed_visible") for image in (IMAGE, other))
    assert first.shape == (2, 5, 8)
    np.testing.assert_array_equal(first, second)


def test_a_visible_pixel_and_its_position_matter():
    encoder = ViT(**SMALL)
    variables = initial(encoder)
    hidden = jnp.ones((2, 4, 6), bool).at[:, 0, 0].set(False)
    moved = jnp.ones((2, 4, 6), bool).at[:, 2, 3].set(False)
    image = jnp.tile(IMAGE[:, :4, :4], (1, 4, 6, 1))
    first, second = (jitted.apply(encoder, variables, image, each, 1, train=False, method="embed_visible") for each in (hidden, moved))
    assert np.abs(first - second).max() > 1e-3


def test_learned_positions_are_resized_for_another_grid():
    encoder = ViT(**SMALL, positions="learned", grid=(2, 2))
    variables = initial(encoder)
    assert variables["params"]["position_table"].shape == (5, 8)
    table = positions.resized(variables["params"]["position_table"], (2, 2), (4, 6), leading=1)
    params = {**variables["params"], "position_table": table}
    large = jitted.apply(encoder.clone(grid=(4, 6)), {"params": params}, IMAGE, train=False)
    np.testing.assert_allclose(jitted.apply(encoder, variables, IMAGE, train=False)[4], large[4], atol=1e-6)


def test_outputs_of_chosen_blocks_are_joined_and_the_last_block_is_the_default():
    encoder = ViT(**SMALL)
    variables = initial(encoder)
    chosen = jitted.apply(encoder.clone(outputs=(0, 2)), variables, IMAGE, train=False)[4]
    assert chosen.shape == (2, 4, 6, 16)
    np.testing.assert_allclose(chosen[..., 8:], jitted.apply(encoder, variables, IMAGE, train=False)[4], atol=1e-6)
    shallow = {"params": {**variables["params"], "blocks": jax.tree.map(lambda leaf: leaf[:1], variables["params"]["blocks"])}}
    np.testing.assert_allclose(chosen[..., :8], jitted.apply(encoder.clone(depth=1), shallow, IMAGE, train=False)[4], atol=1e-6)


@pytest.mark.parametrize(
    ("head", "strides"),
    [(UNetHead(2), (1, 2, 4)), (FCNHead(2, 8, 1, (8, 4)), (4, 8)), (LinearHead(2, 2), (2, 4))],
)
@pytest.mark.parametrize("blocks", [1, 2])
def test_every_head_reads_it_through_a_neck(head, strides, blocks):
    strides = strides[-2:] if blocks == 2 and not isinstance(head, UNetHead) else strides
    blocks = len(strides) if blocks == 2 else 1
    encoder = ViT(**SMALL, outputs=(0, 1, 2)[:blocks] if blocks > 1 else ())
    method = Segmenter(encoder, head, 2, neck=(neck.PyramidNeck(strides, blocks),))
    variables = jax.eval_shape(lambda: method.init(jax.random.key(0), contract.batch(), train=False))
    assert variables["params"].keys() <= {"encoder", "head", "neck_0"}
    alone = jax.eval_shape(lambda: ViT(**SMALL).init(jax.random.key(0), IMAGE, train=False))
    assert tree.flatten(variables["params"]["encoder"]).keys() == tree.flatten(alone["params"]).keys()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ViT(**SMALL, positions="none"), "positions is one of fixed, learned, trained, rotary; got 'none'"),
        (lambda: ViT(**SMALL, outputs=(0, 3)), r"outputs names blocks from 0 to 2; got \[3\]"),
        (lambda: initial(ViT(**{**SMALL, "heads": 3})), "divisible by its heads; got 8 and 3"),
        (lambda: initial(ViT(**SMALL, drop_path=1.0)), "drop_path is a probability.*got 1.0"),
        (lambda: initial(ViT(**SMALL), hidden=HIDDEN), "this encoder has none. Set has_mask_token=True"),
        (
            lambda: initial(ViT(**SMALL, has_mask_token=True), hidden=HIDDEN[:, :, :2]),
            "whole number of patches on both sides; got 2 x 2 units and 4 x 6 patches",
        ),
    ],
)
def test_conflicting_fields_are_named(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_the_recipes_have_the_right_patch():
    assert {size: build(vit.recipe(size)).patch for size in ("small", "s16", "h14")} == {"small": 8, "s16": 16, "h14": 14}
