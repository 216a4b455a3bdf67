"""aeseg/training/layer_decay.py: the papers' layers, and stacks against separate layers."""

import jax
import jax.numpy as jnp
import numpy as np

from aeseg import tree
from aeseg.spec import build, recipe
from aeseg.training import layer_decay


def layers(params):
    """Return {path: layer}, from the factors: with decay 1/2 the factor is 2^-(top - layer)."""
    scales = tree.flatten(layer_decay.layer_scales(params, 0.5))
    depth = -min(float(np.log2(scale).min()) for scale in scales.values())
    return {name: (depth + np.log2(scale)).astype(int).ravel().tolist() for name, scale in scales.items()}


def test_layer_decay_gives_lower_layers_a_smaller_rate():
    params = {"encoder": {"stem": {"kernel": 0}, "level0": {"kernel": 0}, "level1": {"kernel": 0}}, "head": 0}
    scales = {"encoder": {"stem": {"kernel": 0.125}, "level0": {"kernel": 0.25}, "level1": {"kernel": 0.5}}, "head": 1.0}
    assert layer_decay.layer_scales(params, 0.5) == scales


def test_layers_after_the_last_encoder_layer_have_the_learning_rate_of_the_head():
    names = {"patches": 0, "position_table": 0, "class_token": 0, "block0": 0, "block1": 0, "norm": 0}
    assert layers({"encoder": names, "head": 0}) == {
        "encoder/patches": [0], "encoder/position_table": [0], "encoder/class_token": [0],
        "encoder/block0": [1], "encoder/block1": [2], "encoder/norm": [3], "head": [3],
    }  # fmt: skip


def test_a_stack_moves_as_its_separate_layers():
    slopes = {"kernel": jax.random.normal(jax.random.key(0), (3, 4, 5)), "scale": jax.random.normal(jax.random.key(1), (3, 4))}
    stacked = {"encoder": {"patches": jnp.ones((2, 2)), "blocks": slopes}, "head": jnp.ones(2)}
    single = {f"block{number}": jax.tree.map(lambda leaf, n=number: leaf[n], slopes) for number in range(3)}
    apart = {"encoder": {"patches": jnp.ones((2, 2)), **single}, "head": jnp.ones(2)}
    transform = layer_decay.scale_by_layer(0.65)
    one, other = (transform.update(params, transform.init(params), params)[0] for params in (stacked, apart))
    for number in range(3):
        for name in ("kernel", "scale"):
            np.testing.assert_array_equal(one["encoder"]["blocks"][name][number], other["encoder"][f"block{number}"][name])
    np.testing.assert_array_equal(one["encoder"]["patches"], other["encoder"]["patches"])


def test_a_convnext_has_the_paper_s_twelve_layers():
    """Liu et al. 2022: the third stage's 27 blocks are nine layers of three blocks; every other stage is one layer."""
    depths = (3, 3, 27, 3)
    encoder = {"stem": {"kernel": 0}, "norm": {"scale": 0}, "stem_norm": {"scale": 0}, "output_norm4": {"scale": 0}}
    for stage, depth in enumerate(depths):
        encoder[f"stage{stage}"] = {"downsample": {"kernel": 0}, **{f"block{number}": {"kernel": 0} for number in range(depth)}}
    found = layers({"encoder": encoder, "head": 0})
    for stage, start in enumerate((1, 2, 3, 12)):
        assert found[f"encoder/stage{stage}/downsample/kernel"] == [start]
        for number in range(depths[stage]):
            assert found[f"encoder/stage{stage}/block{number}/kernel"] == [start + number // 3]
    assert [found[f"encoder/{name}"] for name in ("stem/kernel", "stem_norm/scale")] == [[0], [0]]
    assert [found[name] for name in ("encoder/norm/scale", "encoder/output_norm4/scale", "head")] == [[13], [13], [13]]


def test_a_stage_may_be_a_stack():
    encoder = {f"stage{stage}": {"blocks": {"kernel": np.zeros((depth, 2, 2))}} for stage, depth in enumerate((3, 6, 2))}
    found = layers({"encoder": {"stem": 0, **encoder}})
    assert [found[f"encoder/stage{stage}/blocks/kernel"] for stage in range(3)] == [[1] * 3, [2] * 3 + [3] * 3, [4] * 2]


def test_the_bottleneck_of_a_convnet_is_one_layer_after_its_levels():
    config = recipe("aeseg.models.encoders", "convnet", "small")
    variables = jax.eval_shape(lambda: build(config).init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)), train=False))
    found = layers({"encoder": variables["params"], "head": jnp.zeros(1)})
    deepest = {name.split("/")[1]: number for name, number in found.items() if name.startswith("encoder/")}
    assert deepest == {"level0": [0], "level1": [1], "level2": [2], "bottleneck_level": [3]}, "of a network without a stem"
    assert found["head"] == [4]
