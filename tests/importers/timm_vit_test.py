"""timm's ViT and ConvNeXt and Hugging Face's ResNet, against transformers with the same weights under mapped names."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from ml_collections import ConfigDict
from safetensors.numpy import save_file

from aeseg.importers import families, files
from aeseg.spec import build, differences
from tests.importers import oracle
from tests.importers.convnextv2_test import near, randomised

VIT = (
    (r"embeddings\.cls_token", "cls_token"),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"encoder\.layer", "blocks"),
    (r"attention\.attention", "attn"),
    (r"attention\.output\.dense", "attn.proj"),
    (r"intermediate\.dense", "mlp.fc1"),
    (r"(\d)\.output\.dense", r"\1.mlp.fc2"),
    (r"layernorm_before", "norm1"),
    (r"layernorm_after", "norm2"),
    (r"^layernorm", "norm"),
    (r"layer_scale(\d)\.lambda1", r"ls\1.gamma"),
)
CONVNEXT = (
    (r"embeddings\.patch_embeddings", "stem.0"),
    (r"embeddings\.layernorm", "stem.1"),
    (r"^encoder\.", ""),
    (r"\.layers\.", ".blocks."),
    (r"dwconv", "conv_dw"),
    (r"\.layernorm", ".norm"),
    (r"pwconv(\d)", r"mlp.fc\1"),
    (r"downsampling_layer", "downsample"),
    (r"grn", "mlp.grn"),
    (r"layer_scale_parameter", "gamma"),
    (r"^layernorm", "head.norm"),
)


def renamed(tensors, names):
    found = {}
    for name, array in tensors.items():
        for pattern, new in names:
            name = re.sub(pattern, new, name)
        found[name] = array
    return found


def loaded(path, config, tensors):
    """Return the output of a single file beside its config, for images in [0, 1]."""
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, path / "weights.safetensors")
    (path / "config.json").write_text(json.dumps(config))
    model = families.load(str(path / "weights.safetensors"))
    node = model.described.copy_and_resolve_references()
    node.update(mean=(0.0,), std=(1.0,))
    return model, build(node)


@pytest.mark.parametrize("kind", ["vit_tiny_patch16_224", "vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2"])
def test_a_vit_of_timm_gives_the_tokens_of_transformers(kind, tmp_path):
    fields = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "patch_size": 4, "image_size": 16}
    if "reg4" in kind:
        theirs = oracle.randomised(transformers.Dinov2WithRegistersModel(transformers.Dinov2WithRegistersConfig(**fields)))
    elif "dinov2" in kind:
        theirs = oracle.randomised(transformers.Dinov2Model(transformers.Dinov2Config(**fields)))
    else:
        theirs = transformers.ViTModel(transformers.ViTConfig(**fields, intermediate_size=48, layer_norm_eps=1e-6), add_pooling_layer=False)
        theirs = oracle.randomised(theirs)
    tensors = renamed(oracle.saved(theirs, tmp_path / "theirs")[1], VIT)
    tensors = {name: array for name, array in tensors.items() if "mask_token" not in name}
    for block in range(2):
        for leaf in ("weight", "bias"):
            parts = [tensors.pop(f"blocks.{block}.attn.{part}.{leaf}") for part in ("query", "key", "value")]
            tensors[f"blocks.{block}.attn.qkv.{leaf}"] = np.concatenate(parts)
    if "reg4" in kind:  # timm adds the class token's position to the token
        tensors["reg_token"] = tensors.pop("embeddings.register_tokens")
        tensors["cls_token"] = tensors["cls_token"] + tensors["pos_embed"][:, :1]
        tensors["pos_embed"] = tensors["pos_embed"][:, 1:]
    tensors["head.weight"] = np.zeros((5, 12), np.float32)
    given = {"embed_dim": 12, "depth": 2, "num_heads": 3, "patch_size": 4, "img_size": 16}
    statistics = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "input_size": [3, 16, 16]}
    model, encoder = loaded(tmp_path, {"architecture": kind, "model_args": given, "pretrained_cfg": statistics}, tensors)
    assert (model.described.mean, model.described.std) == ((0.5,) * 3, (0.25,) * 3), "images are standardised by the weights' statistics"
    image = jnp.asarray(np.random.default_rng(1).random((2, 16, 16, 3)), jnp.float32)
    tokens = jax.jit(lambda params: encoder.apply({"params": params}, image, train=False, method="embed"))(
        model.variables["params"]["encoder"]
    )
    near(tokens, theirs(oracle.torch_image(image)).last_hidden_state.detach().numpy(), "tokens", 2e-5)


@pytest.mark.parametrize("kind", ["convnext_atto", "convnextv2_atto"])
def test_a_convnext_of_timm_gives_the_features_of_transformers(kind, tmp_path):
    fields = {"hidden_sizes": [6, 10], "depths": [1, 2], "num_stages": 2, "patch_size": 4}
    name = "ConvNextV2" if "v2" in kind else "ConvNext"
    theirs = randomised(getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**fields)))
    tensors = renamed(oracle.saved(theirs, tmp_path / "theirs")[1], CONVNEXT)
    tensors = {name: array[0, 0, 0] if ".grn." in name else array for name, array in tensors.items()}
    small = {name: array[:, :, None, None] if re.search(r"mlp\.fc\d\.weight", name) else array for name, array in tensors.items()}
    model, encoder = loaded(tmp_path, {"architecture": kind, "model_args": {"dims": [6, 10], "depths": [1, 2]}}, small)
    image = jnp.asarray(np.random.default_rng(1).random((2, 16, 24, 3)), jnp.float32)
    pyramid = jax.jit(lambda params: encoder.apply({"params": params}, image, train=False))(model.variables["params"]["encoder"])
    expected = theirs(oracle.torch_image(image)).last_hidden_state.permute(0, 2, 3, 1).detach().numpy()
    near(pyramid[8], expected, "stride 8", 2e-5)


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_hugging_face_s_resnet_gives_its_features_and_survives_a_round_trip(kind, tmp_path):
    wide = 4 if kind == "bottleneck" else 1
    config = transformers.ResNetConfig(embedding_size=6, hidden_sizes=[6 * wide, 8 * wide], depths=[1, 2], layer_type=kind)
    theirs = randomised(transformers.ResNetModel(config))
    with torch.no_grad():
        for name, buffer in theirs.named_buffers():
            if name.endswith("running_var"):
                buffer.copy_(buffer.abs() + 0.5)
    theirs.save_pretrained(tmp_path / "theirs")
    model = families.load(str(tmp_path / "theirs"))
    node = model.described.copy_and_resolve_references()
    node.update(mean=(0.0,), std=(1.0,))
    image = jnp.asarray(np.random.default_rng(1).random((2, 16, 24, 3)), jnp.float32)
    variables = {name: leaves["encoder"] for name, leaves in model.variables.items()}
    pyramid = jax.jit(lambda variables: build(node).apply(variables, image, train=False))(variables)
    expected = theirs(oracle.torch_image(image)).last_hidden_state.permute(0, 2, 3, 1).detach().numpy()
    near(pyramid[8], expected, "stride 8", 2e-5)
    families.save(str(tmp_path / "back"), ConfigDict({"encoder": model.described}), model.variables)
    assert files.read(str(tmp_path / "back"))[0]["architectures"] == ["ResNetModel"]
    again = families.load(str(tmp_path / "back"))
    assert differences(again.described, model.described) == []
    jax.tree.map(np.testing.assert_array_equal, again.variables, model.variables)
