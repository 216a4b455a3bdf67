"""Hugging Face's ViT: the encoder, without a pooler or a classifier."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from aeseg import positions
from aeseg.importers.rules import Buffer, Rule
from aeseg.models.encoders.vit import IMAGENET, ViT
from aeseg.spec import spec
from aeseg.types import UserError

architectures = ("ViTModel", "ViTForImageClassification")
prefix = "vit."
ignored = ("classifier.*", "vit.pooler.*")

TARGET = "aeseg.models.encoders.vit:ViT"


def spec_of(config: Mapping[str, Any]) -> ConfigDict:
    """The encoder that a config.json describes; its positions are learned ones for the grid of its image size."""
    return spec(ViT, **fields_of(config, ""), patch=config["patch_size"], grid=grid_of(config), **IMAGENET)


def config_of(described: ConfigDict) -> dict[str, Any]:
    """The config.json of an encoder; the image size is that of its `grid`.  UserError for what ViTModel has no place for."""
    check(described, "target", TARGET)
    check(described, "has_class_token", True)
    check(described, "layer_scale", 0.0)
    grid = tuple(described.grid)
    return {
        "architectures": ["ViTModel"],
        "model_type": "vit",
        **config_fields(described, ""),
        "image_size": grid[0] * described.patch if grid[0] == grid[1] else [side * described.patch for side in grid],
        "patch_size": described.patch,
        "num_channels": 3,
    }


def rules(described: ConfigDict) -> list[Rule | Buffer]:
    """The tensors of ViTModel, with `vit.` before their names."""
    token = [Rule("vit.embeddings.mask_token", "params/encoder/mask_token")] if described.has_mask_token else []
    return [
        Rule("vit.embeddings.cls_token", "params/encoder/class_token"),
        *token,
        position_rule(described, "vit.embeddings.position_embeddings", "params/encoder/position_table"),
        Rule("vit.embeddings.patch_embeddings.projection.weight", "params/encoder/patches/kernel", "convolution"),
        Rule("vit.embeddings.patch_embeddings.projection.bias", "params/encoder/patches/bias"),
        *block_rules("vit.encoder.layer.{i}", "params/encoder/blocks"),
        *norm_rules("vit.layernorm", "params/encoder/norm"),
    ]


def fields_of(config: Mapping[str, Any], part: str) -> dict[str, Any]:
    """The fields that encoder ("") and decoder ("decoder_") have alike."""
    for name, value in (("hidden_act", "gelu"), ("qkv_bias", True)):
        if config.get(name, value) != value:
            raise UserError(f"aeseg's transformer has {name} {value!r}; this config.json says {config[name]!r}. Name other weights.")
    width = config[f"{part}hidden_size"]
    return {
        "width": width,
        "depth": config[f"{part}num_hidden_layers"],
        "heads": config[f"{part}num_attention_heads"],
        "ratio": config[f"{part}intermediate_size"] / width,
        "epsilon": config.get("layer_norm_eps", 1e-12),
        "positions": "learned",
    }


def config_fields(described: ConfigDict, part: str) -> dict[str, Any]:
    """The inverse of `fields_of`."""
    return {
        f"{part}hidden_size": described.width,
        f"{part}num_hidden_layers": described.depth,
        f"{part}num_attention_heads": described.heads,
        f"{part}intermediate_size": round(described.ratio * described.width),
        **({} if part else {"layer_norm_eps": described.epsilon, "hidden_act": "gelu", "qkv_bias": True}),
    }


def grid_of(config: Mapping[str, Any]) -> tuple[int, int]:
    """Rows and columns of patches at the image size of a config.json."""
    size, patch = config["image_size"], config["patch_size"]
    if not isinstance(patch, int):
        raise UserError(f"aeseg's patches are square; this config.json has patch_size {patch}. Name other weights.")
    h, w = (size, size) if isinstance(size, int) else size
    return h // patch, w // patch


def check(described: ConfigDict, name: str, value: Any) -> None:
    """Raise UserError unless a field has the only value that the foreign model can have."""
    if described.get(name) != value:
        raise UserError(f"Hugging Face's ViT has {name} {value!r}; this one has {described.get(name)!r}. It cannot be written so.")


def position_rule(described: ConfigDict, theirs: str, ours: str) -> Rule | Buffer:
    """A learned table; or the fixed one of the spec's grid, which is no variable of ours."""
    if described.positions == "learned":
        return Rule(theirs, ours, "row")
    h, w = described.grid
    return Buffer(theirs, positions.sine_cosine(h, w, described.width, leading=1)[None])


def block_rules(theirs: str, ours: str) -> list[Rule]:
    """The tensors of transformer blocks."""
    layers = {
        "attention.attention.query": "query",
        "attention.attention.key": "key",
        "attention.attention.value": "value",
        "attention.output.dense": "projection",
        "intermediate.dense": "expand",
        "output.dense": "contract",
    }
    found = []
    for their, our in layers.items():
        found.append(Rule(f"{theirs}.{their}.weight", f"{ours}/{our}/kernel", "linear"))
        found.append(Rule(f"{theirs}.{their}.bias", f"{ours}/{our}/bias"))
    return [
        *found,
        *norm_rules(f"{theirs}.layernorm_before", f"{ours}/norm_before"),
        *norm_rules(f"{theirs}.layernorm_after", f"{ours}/norm_after"),
    ]


def norm_rules(theirs: str, ours: str) -> list[Rule]:
    """The tensors of a layer norm."""
    return [Rule(f"{theirs}.weight", f"{ours}/scale"), Rule(f"{theirs}.bias", f"{ours}/bias")]
