"""ViT with the weights of transformers' ViTModel: same tokens and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers import ViTConfig, ViTForImageClassification, ViTForMaskedImageModeling, ViTModel

from aeseg import images, masking, objectives
from aeseg.importers import vit
from aeseg.importers.rules import from_foreign
from aeseg.spec import build, differences
from aeseg.types import UserError
from tests.importers import oracle

FIELDS = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 40, "patch_size": 4, "image_size": 16}
WHOLE = {"mean": (0.0,), "std": (1.0,)}


def prefixed(tensors):
    """Return the names of the tensors inside a larger model, as importers/families does."""
    return (
        tensors if any(name.startswith(vit.prefix) for name in tensors) else {vit.prefix + name: array for name, array in tensors.items()}
    )


@pytest.mark.parametrize("kind", [ViTModel, ViTForImageClassification])
@pytest.mark.parametrize(("h", "w"), [(16, 16), (24, 12)])
def test_tokens_and_gradients_equal_transformers_at_any_size(tmp_path, kind, h, w):
    theirs = oracle.randomised(kind(ViTConfig(**FIELDS)))
    config, tensors = oracle.saved(theirs, tmp_path / "weights")
    described = vit.spec_of(config)
    described.update(WHOLE)
    rules = vit.rules(described)
    variables = from_foreign(rules, prefixed(tensors), ignored=vit.ignored)
    image = jnp.asarray(np.random.default_rng(1).random((2, h, w, 3)), jnp.float32)
    backbone = theirs if kind is ViTModel else theirs.vit
    expected = backbone(oracle.torch_image(image), interpolate_pos_encoding=(h, w) != (16, 16)).last_hidden_state
    weights = np.random.default_rng(2).normal(size=expected.shape).astype(np.float32)
    (expected * torch.from_numpy(weights)).sum().backward()

    def loss(params):
        tokens = build(described).apply({"params": params["encoder"]}, image, train=False, method="embed")
        return jnp.sum(tokens * weights), tokens

    (_, tokens), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])
    np.testing.assert_allclose(tokens, expected.detach(), rtol=0, atol=1e-5 * float(expected.detach().abs().max()))
    gradients = prefixed(oracle.saved_gradients(theirs, tmp_path / "gradients"))
    oracle.assert_gradients_agree(rules, {"params": gradient}, gradients)


def test_hidden_patches_and_their_loss_equal_simmim_in_transformers(tmp_path):
    """transformers' decoder is a convolution and PixelShuffle, whose outputs are ordered by channel."""
    theirs = oracle.randomised(ViTForMaskedImageModeling(ViTConfig(**FIELDS, encoder_stride=4)))
    config, tensors = oracle.saved(theirs, tmp_path)
    described = vit.spec_of(config)
    described.update({**WHOLE, "has_mask_token": True})
    decoder = {name: tensors.pop(f"decoder.0.{name}") for name in ("weight", "bias")}
    variables = from_foreign(vit.rules(described), prefixed(tensors))
    image = jnp.asarray(np.random.default_rng(1).random((2, 16, 16, 3)), jnp.float32)
    hidden = np.random.default_rng(2).permuted(np.tile(np.arange(16) < 10, (2, 1)), axis=1)
    with torch.no_grad():
        output = theirs(oracle.torch_image(image), bool_masked_pos=torch.from_numpy(hidden))
    hidden = jnp.asarray(hidden).reshape(2, 4, 4)
    features = build(described).apply({"params": variables["params"]["encoder"]}, image, train=False, hidden=hidden)[4]
    values = features @ decoder["weight"][:, :, 0, 0].T + decoder["bias"].reshape(1, 1, 1, -1)  # c p p
    values = images.from_patches(values.reshape(2, 4, 4, 3, 16).swapaxes(3, 4).reshape(2, 4, 4, 48), 4)
    np.testing.assert_allclose(
        values, output.reconstruction.permute(0, 2, 3, 1), rtol=0, atol=1e-5 * float(output.reconstruction.abs().max())
    )
    error = objectives.hidden_error(jnp.abs(values - image), masking.spread(hidden, 4), jnp.ones((2,), bool))
    assert error.value() == pytest.approx(output.loss.item(), rel=1e-5)


def test_the_config_survives_a_round_trip_and_options_that_transformers_lacks_are_named():
    described = vit.spec_of(ViTConfig(**FIELDS, architectures=["ViTModel"]).to_dict())
    assert differences(vit.spec_of(vit.config_of(described)), described) == []
    for field, value in (("layer_scale", 0.1), ("has_class_token", False)):
        changed = described.copy_and_resolve_references()
        changed[field] = value
        with pytest.raises(UserError, match=f"Hugging Face's ViT has {field} .*; got {value}"):
            vit.config_of(changed)
    with pytest.raises(UserError, match=r"has hidden_act 'gelu'; this config.json has 'relu'"):
        vit.spec_of({**FIELDS, "hidden_act": "relu"})
    with pytest.raises(UserError, match="patches are square"):
        vit.spec_of({**FIELDS, "patch_size": [4, 8]})
