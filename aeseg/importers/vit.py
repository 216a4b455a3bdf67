"""Hugging Face ViT: the encoder, without a pooler or a classifier."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from aeseg import positions
from aeseg.importers.rules import Buffer, Rule, check_fixed, layer_rules, norm_rules
from aeseg.models.encoders.vit import IMAGENET, ViT
from aeseg.spec import spec
from aeseg.types import UserError

architectures = ("ViTModel", "ViTForImageClassification")
prefix = "vit."
ignored = ("classifier.*", "vit.pooler.*")

TARGET = "aeseg.models.encoders.vit:ViT"


def spec_of(config: Mapping[str, Any]) -> ConfigDict:
    """Return the encoder spec that a config.json describes; positions are learned, for the grid of its image size."""
    return spec(ViT, **fields_of(config, ""), patch=config["patch_size"], grid=grid_of(config), **IMAGENET)


def config_of(node: ConfigDict) -> dict[str, Any]:
    """Return the config.json of an encoder; `grid` sets the image size. UserError if ViTModel cannot represent it."""
    check(node, "target", TARGET)
    check(node, "has_class_token", True)
    check(node, "layer_scale", 0.0)
    check_plain(node)
    grid = tuple(node.grid)
    return {
        "architectures": ["ViTModel"],
        "model_type": "vit",
        **config_fields(node, ""),
        "image_size": grid[0] * node.patch if grid[0] == grid[1] else [side * node.patch for side in grid],
        "patch_size": node.patch,
        "num_channels": 3,
    }


def rules(node: ConfigDict) -> list[Rule | Buffer]:
    """Return the rules for the tensors of ViTModel, with names that begin with `vit.`."""
    token = [Rule("vit.embeddings.mask_token", "params/encoder/mask_token")] if node.has_mask_token else []
    return [
        Rule("vit.embeddings.cls_token", "params/encoder/class_token"),
        *token,
        position_rule(node, "vit.embeddings.position_embeddings", "params/encoder/position_table"),
        Rule("vit.embeddings.patch_embeddings.projection.weight", "params/encoder/patches/kernel", "convolution"),
        Rule("vit.embeddings.patch_embeddings.projection.bias", "params/encoder/patches/bias"),
        *block_rules("vit.encoder.layer.{i}", "params/encoder/blocks"),
        *norm_rules("vit.layernorm", "params/encoder/norm"),
    ]


def fields_of(config: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Return the spec fields that encoder (part "") and decoder (part "decoder_") share."""
    check_fixed(config, {"hidden_act": "gelu", "qkv_bias": True}, "aeseg's transformer has")
    width = config[f"{part}hidden_size"]
    return {
        "width": width,
        "depth": config[f"{part}num_hidden_layers"],
        "heads": config[f"{part}num_attention_heads"],
        "ratio": config[f"{part}intermediate_size"] / width,
        "epsilon": config.get("layer_norm_eps", 1e-12),
        "positions": "learned",
    }


def config_fields(node: ConfigDict, part: str) -> dict[str, Any]:
    """Return the config.json fields of a transformer: the inverse of `fields_of`."""
    return {
        f"{part}hidden_size": node.width,
        f"{part}num_hidden_layers": node.depth,
        f"{part}num_attention_heads": node.heads,
        f"{part}intermediate_size": round(node.ratio * node.width),
        **({} if part else {"layer_norm_eps": node.epsilon, "hidden_act": "gelu", "qkv_bias": True}),
    }


def grid_of(config: Mapping[str, Any]) -> tuple[int, int]:
    """Return the rows and columns of patches at the image size of a config.json."""
    size, patch = config["image_size"], config["patch_size"]
    if not isinstance(patch, int):
        raise UserError(f"aeseg's patches are square; this config.json has patch_size {patch}. Use other weights.")
    h, w = (size, size) if isinstance(size, int) else size
    return h // patch, w // patch


def check(node: ConfigDict, name: str, value: Any) -> None:
    """Raise UserError unless a field has the only value that the foreign model supports."""
    if node.get(name) != value:
        raise UserError(f"Hugging Face's ViT has {name} {value!r}; got {node.get(name)!r}. The model cannot be exported.")


def check_plain(node: ConfigDict) -> None:
    """Raise UserError for features of DINO's transformers: registers, gates, rotary positions, keys without bias."""
    for name, value in (("registers", 0), ("gated", False), ("key_bias", True), ("antialias", False)):
        check(ConfigDict({name: node.get(name, value)}), name, value)
    if node.get("positions") == "rotary":
        check(node, "positions", "learned")


def position_rule(node: ConfigDict, theirs: str, ours: str) -> Rule | Buffer:
    """Return the rule of a learned or trained position table, or a buffer with the fixed table of the grid."""
    if node.positions != "fixed":
        return Rule(theirs, ours, "row")
    h, w = node.grid
    return Buffer(theirs, positions.sine_cosine(h, w, node.width, leading=1)[None])


def block_rules(theirs: str, ours: str) -> list[Rule]:
    """Return the rules for the tensors of transformer blocks."""
    layers = {
        "attention.attention.query": "query",
        "attention.attention.key": "key",
        "attention.attention.value": "value",
        "attention.output.dense": "projection",
        "intermediate.dense": "expand",
        "output.dense": "contract",
    }
    entries = []
    for their, our in layers.items():
        entries += layer_rules(f"{theirs}.{their}", f"{ours}/{our}", "linear")
    return [
        *entries,
        *norm_rules(f"{theirs}.layernorm_before", f"{ours}/norm_before"),
        *norm_rules(f"{theirs}.layernorm_after", f"{ours}/norm_after"),
    ]
