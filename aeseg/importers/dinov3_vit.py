"""Hugging Face DINOv3 (Siméoni et al. 2025): the vision transformer with rotary positions and registers."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from aeseg.importers import vit
from aeseg.importers.dinov2 import linear_rules, scale_rules
from aeseg.importers.rules import Buffer, Rule, check_fixed, norm_rules
from aeseg.models.encoders.vit import IMAGENET, ViT
from aeseg.spec import spec
from aeseg.types import UserError

architectures = ("DINOv3ViTModel", "DINOv3ViTBackbone")
ignored = ("embeddings.mask_token",)

FIXED = {
    "query_bias": True,
    "value_bias": True,
    "proj_bias": True,
    "mlp_bias": True,
    "rope_theta": 100.0,
}
"""Fields of config.json with only one supported value."""

ACTIVATIONS = {False: "gelu", True: "silu"}
"""The activation by whether the MLP is gated, as in the two largest models."""


def spec_of(config: Mapping[str, Any]) -> ConfigDict:
    """Return the encoder spec that a config.json describes."""
    width, gated = config["hidden_size"], bool(config.get("use_gated_mlp", False))
    check_fixed(config, {"hidden_act": ACTIVATIONS[gated], **FIXED}, "aeseg reads DINOv3 with")
    return spec(
        ViT,
        width=width,
        depth=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        patch=config["patch_size"],
        ratio=config["intermediate_size"] / width,
        epsilon=config.get("layer_norm_eps", 1e-5),
        layer_scale=float(config.get("layerscale_value", 1.0)),
        registers=int(config.get("num_register_tokens", 0)),
        key_bias=bool(config.get("key_bias", False)),
        gated=gated,
        positions="rotary",
        grid=vit.grid_of(config),
        **IMAGENET,
    )


def config_of(node: ConfigDict) -> dict[str, Any]:
    """Return the config.json of an encoder; `grid` sets the image size. UserError if DINOv3ViTModel cannot represent it."""
    for name, value in {"target": vit.TARGET, "has_class_token": True, "positions": "rotary"}.items():
        if node.get(name) != value:
            raise UserError(f"DINOv3 has {name} {value!r}; got {node.get(name)!r}. The model cannot be exported.")
    if not node.layer_scale:
        raise UserError("DINOv3 has a layer scale; this encoder has none. The model cannot be exported.")
    grid = tuple(node.grid)
    return {
        "architectures": ["DINOv3ViTModel"],
        "model_type": "dinov3_vit",
        "hidden_size": node.width,
        "num_hidden_layers": node.depth,
        "num_attention_heads": node.heads,
        "intermediate_size": round(node.ratio * node.width),
        "layer_norm_eps": node.epsilon,
        "layerscale_value": node.layer_scale,
        "num_register_tokens": node.registers,
        "key_bias": node.key_bias,
        "image_size": grid[0] * node.patch if grid[0] == grid[1] else [side * node.patch for side in grid],
        "patch_size": node.patch,
        "num_channels": 3,
        "use_gated_mlp": node.gated,
        "hidden_act": ACTIVATIONS[node.gated],
        **FIXED,
    }


def incoming(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors with the two halves of a gated MLP in one: first what gates, then what is gated."""
    gates = {name.replace("gate_proj", "up_proj"): array for name, array in tensors.items() if ".mlp.gate_proj." in name}
    joined = {name: np.concatenate([gates[name], array]) if name in gates else array for name, array in tensors.items()}
    return {name: array for name, array in joined.items() if ".mlp.gate_proj." not in name}


def outgoing(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors as DINOv3ViTModel has them: the inverse of `incoming`, where `up_proj` has twice the units."""
    parted = dict(tensors)
    for name, array in tensors.items():
        units = tensors.get(re.sub(r"up_proj\.\w+$", "down_proj.weight", name))
        if ".mlp.up_proj." in name and units is not None and len(array) == 2 * units.shape[1]:
            parted[name.replace("up_proj", "gate_proj")], parted[name] = map(np.ascontiguousarray, np.split(array, 2))
    return parted


def rules(node: ConfigDict) -> list[Rule | Buffer]:
    """Return the rules for the tensors of DINOv3ViTModel."""
    theirs, ours = "layer.{i}", "params/encoder/blocks"
    layers = {"attention.q_proj": "query", "attention.k_proj": "key", "attention.v_proj": "value", "attention.o_proj": "projection"}
    layers |= {"mlp.up_proj": "expand", "mlp.down_proj": "contract"}
    entries: list[Rule | Buffer] = []
    for their, our in layers.items():
        entries += linear_rules(f"{theirs}.{their}", f"{ours}/{our}", our != "key" or node.key_bias)
    token = [Rule("embeddings.mask_token", "params/encoder/mask_token")] if node.has_mask_token else []
    registers: Rule | Buffer = Rule("embeddings.register_tokens", "params/encoder/registers")
    if not node.registers:
        registers = Buffer("embeddings.register_tokens", np.zeros((1, 0, node.width), np.float32))
    return [
        Rule("embeddings.cls_token", "params/encoder/class_token"),
        *token,
        registers,
        Rule("embeddings.patch_embeddings.weight", "params/encoder/patches/kernel", "convolution"),
        Rule("embeddings.patch_embeddings.bias", "params/encoder/patches/bias"),
        *entries,
        *scale_rules(theirs, ours),
        *norm_rules("norm", "params/encoder/norm"),
    ]
