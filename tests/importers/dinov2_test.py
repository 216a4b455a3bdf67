"""DINOv2, with and without registers and gates, and DINOv3, with the weights of transformers' models: same outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import transformers
from ml_collections import ConfigDict

from aeseg.importers import families
from aeseg.spec import build, differences
from aeseg.types import UserError
from tests.importers import oracle

SHARED = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 16, "patch_size": 4}
KINDS = {
    "dinov2": ("Dinov2", {}),
    "dinov2 giant": ("Dinov2", {"use_swiglu_ffn": True}),
    "dinov2 with registers": ("Dinov2WithRegisters", {}),
    "dinov3": ("DINOv3ViT", {"intermediate_size": 40, "num_register_tokens": 3}),
    "dinov3 gated": ("DINOv3ViT", {"intermediate_size": 40, "num_register_tokens": 3, "use_gated_mlp": True, "hidden_act": "silu"}),
    "dinov3 without registers, keys with bias": ("DINOv3ViT", {"intermediate_size": 40, "key_bias": True}),
}


def saved(kind, path):
    """Save a randomised model of transformers."""
    name, fields = KINDS[kind]
    config = getattr(transformers, f"{name}Config")(**SHARED, **fields)
    theirs = oracle.randomised(getattr(transformers, f"{name}Model")(config))
    theirs.save_pretrained(path)
    return theirs


@pytest.mark.parametrize("kind", KINDS)
def test_the_tokens_equal_transformers_at_any_size_and_the_weights_survive_a_round_trip(kind, tmp_path):
    theirs = saved(kind, tmp_path / "theirs")
    model = families.load(str(tmp_path / "theirs"))
    assert "embeddings.mask_token" in model.notes[0]
    node = model.described.copy_and_resolve_references()
    node.update(mean=(0.0,), std=(1.0,))
    encoder, variables = build(node), {"params": model.variables["params"]["encoder"]}
    tokens = jax.jit(lambda image: encoder.apply(variables, image, train=False, method="embed"))
    for h, w in ((16, 16), (12, 8), (20, 24)):
        image = jnp.asarray(np.random.default_rng(1).random((2, h, w, 3)), jnp.float32)
        expected = theirs(oracle.torch_image(image)).last_hidden_state.detach().numpy()
        np.testing.assert_allclose(tokens(image), expected, rtol=0, atol=2e-5 * float(np.abs(expected).max()))
    pyramid = jax.jit(lambda image: encoder.apply(variables, image, train=False))(image)
    np.testing.assert_allclose(pyramid[4].reshape(2, 30, 16), tokens(image)[:, -30:], rtol=0, atol=1e-5)
    families.save(str(tmp_path / "back"), ConfigDict({"encoder": model.described}), model.variables)
    again = families.load(str(tmp_path / "back"))
    assert differences(again.described, model.described) == []
    jax.tree.map(np.testing.assert_array_equal, again.variables, model.variables)


def test_images_are_standardised_by_the_preprocessor_file(tmp_path):
    saved("dinov2", tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        '{"do_normalize": true, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.5, 1.0]}'
    )
    model = families.load(str(tmp_path))
    assert (model.described.mean, model.described.std) == ((0.1, 0.2, 0.3), (0.5, 0.5, 1.0))
    assert model.notes[-1] == "Images are standardised with mean (0.1, 0.2, 0.3) and std (0.5, 0.5, 1.0)."


def test_unsupported_models_are_named(tmp_path):
    config = transformers.DINOv3ViTConfig(**SHARED, intermediate_size=40, use_gated_mlp=True, hidden_act="relu")
    transformers.DINOv3ViTModel(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"aeseg reads DINOv3 with hidden_act 'silu'; this config.json has 'relu'"):
        families.load(str(tmp_path))


def test_the_features_of_dinov3_s_convnext_equal_transformers_and_the_weights_survive_a_round_trip(tmp_path):
    config = transformers.DINOv3ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 2], layer_scale_init_value=0.5)
    theirs = oracle.randomised(transformers.DINOv3ConvNextModel(config))
    theirs.save_pretrained(tmp_path / "theirs")
    model = families.load(str(tmp_path / "theirs"))
    node = model.described.copy_and_resolve_references()
    node.update(mean=(0.0,), std=(1.0,))
    image = jnp.asarray(np.random.default_rng(1).random((2, 32, 24, 3)), jnp.float32)
    variables = {"params": model.variables["params"]["encoder"]}
    pyramid = jax.jit(lambda variables: build(node).apply(variables, image, train=False))(variables)
    expected = theirs.model(oracle.torch_image(image)).last_hidden_state.permute(0, 2, 3, 1).detach().numpy()
    np.testing.assert_allclose(pyramid[max(pyramid)], expected, rtol=0, atol=2e-5 * float(np.abs(expected).max()))
    families.save(str(tmp_path / "back"), ConfigDict({"encoder": model.described}), model.variables)
    jax.tree.map(np.testing.assert_array_equal, families.load(str(tmp_path / "back")).variables, model.variables)
