"""Masked with the weights of transformers' ViTMAEForPreTraining: same loss, outputs and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from aeseg import masking
from aeseg.importers import vit_mae
from aeseg.importers.rules import from_foreign, to_foreign
from aeseg.methods import masked
from aeseg.metrics import divide
from aeseg.spec import build, differences
from aeseg.types import UserError
from tests.importers import oracle

FIELDS = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40, "patch_size": 4,
    "decoder_hidden_size": 8, "decoder_num_hidden_layers": 2, "decoder_num_attention_heads": 2, "decoder_intermediate_size": 32,
}  # fmt: skip
WHOLE = {"mean": (0.0,), "std": (1.0,)}  # transformers does not standardise images


def models(directory, size, **fields):
    """Return (transformers' model with random tensors, our spec, the tensors, our variables)."""
    theirs = oracle.randomised(ViTMAEForPreTraining(ViTMAEConfig(**FIELDS, image_size=size, **fields)))
    config, tensors = oracle.saved(theirs, directory)
    described = vit_mae.spec_of(config)
    described.encoder.update(WHOLE)
    return theirs, described, tensors, from_foreign(vit_mae.rules(described), tensors)


def batch(h, w):
    image = jnp.asarray(np.random.default_rng(1).random((2, h, w, 3)), jnp.float32)
    return {"image": image, "valid": jnp.ones((2,), bool), "index": jnp.arange(2)}


def hidden_as_theirs(monkeypatch, h, w):
    """Return noise for transformers, and for us the patches that it hides: three quarters, with the largest noise."""
    noise = np.random.default_rng(2).random((2, h * w)).astype(np.float32)
    hidden = jnp.asarray(noise.argsort(axis=1).argsort(axis=1) >= h * w // 4).reshape(2, h, w)
    monkeypatch.setattr(masking, "hidden_units", lambda *_: hidden)
    return torch.from_numpy(noise)


@pytest.mark.parametrize("standardised", [False, True])
def test_loss_values_and_gradients_equal_transformers(monkeypatch, tmp_path, standardised):
    theirs, described, tensors, variables = models(tmp_path / "weights", 16, norm_pix_loss=standardised)
    ours, data = build(described), batch(16, 16)
    output = theirs(oracle.torch_image(data["image"]), noise=hidden_as_theirs(monkeypatch, 4, 4))
    output.loss.backward()

    def loss(params):
        mean = ours.apply({"params": params}, data, train=False)["squared_error"]
        return divide(*mean)

    value, gradient = jax.jit(jax.value_and_grad(loss))(variables["params"])
    assert value == pytest.approx(output.loss.item(), rel=1e-5)
    hidden = masking.hidden_units()
    values = ours.apply(variables, data["image"], hidden, False, method="_values").reshape(2, 16, -1)
    expected = output.logits.detach().numpy()
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    gradients = oracle.saved_gradients(theirs, tmp_path / "gradients")
    oracle.assert_gradients_agree(vit_mae.rules(described), {"params": gradient}, gradients)
    oracle.assert_round_trip_is_exact(vit_mae.rules(described), tensors, variables)


def test_a_rectangular_image_equals_transformers_where_it_is_right(monkeypatch, tmp_path):
    """transformers' encoder correctly resizes its square table to 2 x 8.  Its decoder resizes along the flattened tokens, which is wrong
    for every other grid.  2 x 8 has as many patches as 4 x 4, so it resizes nothing there: our decoder gets the same numbers as a table for
    2 x 8.
    """
    theirs, described, _, variables = models(tmp_path, 16)
    described.decoder.grid = (2, 8)
    data = batch(8, 32)
    noise = hidden_as_theirs(monkeypatch, 2, 8)
    with torch.no_grad():
        output = theirs(oracle.torch_image(data["image"]), noise=noise, interpolate_pos_encoding=True)
    mean = build(described).apply(variables, data, train=False)["squared_error"]
    assert mean.value() == pytest.approx(output.loss.item(), rel=1e-5)


def test_a_larger_square_image_needs_our_resizing_of_the_decoders_positions(monkeypatch, tmp_path):
    """Only the encoder is compared; tests/positions_test.py checks the decoder's positions against torch."""
    theirs, described, _, variables = models(tmp_path, 16)
    data = batch(24, 16)
    noise = hidden_as_theirs(monkeypatch, 6, 4)
    with torch.no_grad():
        found = theirs.vit(oracle.torch_image(data["image"]), noise=noise, interpolate_pos_encoding=True).last_hidden_state.numpy()
    hidden = masking.hidden_units()
    tokens = build(described).encoder.apply(
        {"params": variables["params"]["encoder"]}, data["image"], hidden, 6, train=False, method="embed_visible"
    )
    kept = np.argsort(noise.numpy(), axis=1)[:, :6]  # transformers' tokens are in the order of the noise, ours in reading order
    expected = np.stack([np.concatenate([row[:1], row[1:][place.argsort()]]) for row, place in zip(found, kept, strict=True)])
    np.testing.assert_allclose(tokens, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_the_config_survives_a_round_trip_and_fixed_tables_are_written(tmp_path):
    _, described, _, _ = models(tmp_path / "theirs", 16, mask_ratio=0.5)
    config = vit_mae.config_of(described)
    again = vit_mae.spec_of(config)
    again.encoder.update(WHOLE)
    assert differences(again, described) == []
    assert ViTMAEConfig(**config).to_dict().items() >= {**FIELDS, "image_size": 16, "mask_ratio": 0.5, "norm_pix_loss": False}.items()
    fixed = masked.recipe("tiny")
    method = build(fixed)
    variables = jax.eval_shape(lambda: method.init(jax.random.key(0), batch(16, 16), train=False))
    written = to_foreign(vit_mae.rules(fixed), jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), variables))
    theirs = ViTMAEForPreTraining(ViTMAEConfig(**vit_mae.config_of(fixed)))
    assert {name: array.shape for name, array in written.items()} == {
        name: array.shape for name, array in oracle.saved(theirs, tmp_path / "again")[1].items()
    }
    assert written["decoder.decoder_pos_embed"].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask_token_in_encoder": True}, "has mask_token_in_encoder False; got True"),
        ({"decoder.grid": (2, 2)}, r"one grid for encoder and decoder; got .*\(4, 4\) and \(2, 2\)"),
        ({"encoder.grid": (2, 4), "decoder.grid": (2, 4)}, r"needs a square grid; got \(2, 4\)"),
        ({"encoder.layer_scale": 0.1}, "has layer_scale 0.0; got 0.1"),
    ],
)
def test_options_that_transformers_lacks_are_named(change, message):
    described = masked.recipe("tiny")
    described.update_from_flattened_dict(change)
    with pytest.raises(UserError, match=message):
        vit_mae.config_of(described)
