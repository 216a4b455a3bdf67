"""Hugging Face DINOv2 (Oquab et al. 2023): the vision transformer, small to giant, without a classifier."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from aeseg.importers import vit
from aeseg.importers.rules import FORMS, Buffer, Form, Rule, check_fixed, norm_rules
from aeseg.models.encoders.vit import IMAGENET, ViT
from aeseg.spec import spec
from aeseg.types import UserError

architectures = ("Dinov2Model", "Dinov2ForImageClassification", "Dinov2Backbone")
prefix = "dinov2."
ignored = ("dinov2.embeddings.mask_token", "classifier.*")

TOKEN = Form(lambda array: array[None], lambda array: array[0])
"""The mask token: 1 d <-> 1 1 d."""


def spec_of(config: Mapping[str, Any]) -> ConfigDict:
    """Return the encoder spec that a config.json describes; for a gated MLP, `ratio` gives its hidden units."""
    check_fixed(config, {"hidden_act": "gelu", "qkv_bias": True}, "aeseg's transformer has")
    width, gated = config["hidden_size"], bool(config.get("use_swiglu_ffn", False))
    return spec(
        ViT,
        width=width,
        depth=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        patch=config["patch_size"],
        ratio=gated_units(width, config["mlp_ratio"]) / width if gated else float(config["mlp_ratio"]),
        gated=gated,
        epsilon=config.get("layer_norm_eps", 1e-6),
        layer_scale=float(config.get("layerscale_value", 1.0)),
        positions="learned",
        grid=vit.grid_of(config),
        **IMAGENET,
    )


def gated_units(width: int, ratio: float | int) -> int:
    """Return the hidden units of a gated MLP: two thirds of the MLP's, as a multiple of 8."""
    return (int(int(width * ratio) * 2 / 3) + 7) // 8 * 8


def config_of(node: ConfigDict) -> dict[str, Any]:
    """Return the config.json of an encoder; `grid` sets the image size. UserError if Dinov2Model cannot represent it."""
    return {**config_fields(node), "architectures": ["Dinov2Model"], "model_type": "dinov2"}


def config_fields(node: ConfigDict, registers: int = 0, antialias: bool = False) -> dict[str, Any]:
    """Return the fields of config.json that DINOv2 with and without registers share."""
    fixed = {"has_class_token": True, "positions": "learned", "key_bias": True, "registers": registers, "antialias": antialias}
    fields = {"target": vit.TARGET, **fixed}
    for name, value in fields.items():
        if node.get(name) != value:
            raise UserError(f"DINOv2 has {name} {value!r}; got {node.get(name)!r}. The model cannot be exported.")
    if not node.layer_scale:
        raise UserError("DINOv2 has a layer scale; this encoder has none. Export it as ViTModel.")
    units, grid = round(node.ratio * node.width), tuple(node.grid)
    if node.gated and gated_units(node.width, 4) != units:
        raise UserError(f"DINOv2's gated MLP of width {node.width} has {gated_units(node.width, 4)} hidden units; got {units}.")
    return {
        "hidden_size": node.width,
        "num_hidden_layers": node.depth,
        "num_attention_heads": node.heads,
        "mlp_ratio": 4 if node.gated else node.ratio if node.ratio % 1 else int(node.ratio),
        "use_swiglu_ffn": node.gated,
        "hidden_act": "gelu",
        "qkv_bias": True,
        "layer_norm_eps": node.epsilon,
        "layerscale_value": node.layer_scale,
        "image_size": grid[0] * node.patch if grid[0] == grid[1] else [side * node.patch for side in grid],
        "patch_size": node.patch,
        "num_channels": 3,
    }


def rules(node: ConfigDict, prefix: str = prefix) -> list[Rule | Buffer]:
    """Return the rules for the tensors of Dinov2Model, with names that begin with `prefix`."""
    theirs, ours = f"{prefix}encoder.layer.{{i}}", "params/encoder/blocks"
    layers = {"attention.attention.query": "query", "attention.attention.key": "key", "attention.attention.value": "value"}
    mlp = ("mlp.weights_in", "mlp.weights_out") if node.gated else ("mlp.fc1", "mlp.fc2")
    layers |= {"attention.output.dense": "projection", mlp[0]: "expand", mlp[1]: "contract"}
    entries: list[Rule | Buffer] = []
    for their, our in layers.items():
        entries += linear_rules(f"{theirs}.{their}", f"{ours}/{our}")
    token = [Rule(f"{prefix}embeddings.mask_token", "params/encoder/mask_token", TOKEN)] if node.has_mask_token else []
    registers = [Rule(f"{prefix}embeddings.register_tokens", "params/encoder/registers")] if node.registers else []
    return [
        Rule(f"{prefix}embeddings.cls_token", "params/encoder/class_token"),
        *token,
        *registers,
        Rule(f"{prefix}embeddings.position_embeddings", "params/encoder/position_table", FORMS["row"]),
        Rule(f"{prefix}embeddings.patch_embeddings.projection.weight", "params/encoder/patches/kernel", "convolution"),
        Rule(f"{prefix}embeddings.patch_embeddings.projection.bias", "params/encoder/patches/bias"),
        *entries,
        *scale_rules(theirs, ours),
        *norm_rules(f"{prefix}layernorm", "params/encoder/norm"),
    ]


def linear_rules(theirs: str, ours: str, use_bias: bool = True) -> list[Rule]:
    """Return the rules for the tensors of a linear layer."""
    bias = [Rule(f"{theirs}.bias", f"{ours}/bias")] if use_bias else []
    return [Rule(f"{theirs}.weight", f"{ours}/kernel", "linear"), *bias]


def scale_rules(theirs: str, ours: str) -> list[Rule]:
    """Return the rules for the layer scales and norms of blocks."""
    return [
        Rule(f"{theirs}.layer_scale1.lambda1", f"{ours}/attention_scale"),
        Rule(f"{theirs}.layer_scale2.lambda1", f"{ours}/mlp_scale"),
        *norm_rules(f"{theirs}.norm1", f"{ours}/norm_before"),
        *norm_rules(f"{theirs}.norm2", f"{ours}/norm_after"),
    ]
