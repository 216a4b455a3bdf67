"""timm's vision transformers: ViT, DeiT and DINOv2, with and without registers, as timm saves them; read only."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from aeseg.importers.dinov2 import linear_rules
from aeseg.importers.rules import Buffer, Rule, norm_rules
from aeseg.models.encoders.vit import IMAGENET, ViT
from aeseg.spec import spec
from aeseg.types import UserError

SIZES = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}
"""Width, depth and heads (Touvron et al. 2021, table 1; Dosovitskiy et al. 2021, table 1)."""

architectures = (
    *(f"vit_{size}_patch{patch}_{side}" for size in SIZES for patch in (8, 14, 16, 32) for side in (224, 256, 384, 448)),
    *(f"deit_{size}_patch16_{side}" for size in SIZES for side in (224, 384)),
    *(f"vit_{size}_patch14_{registers}dinov2" for size in SIZES for registers in ("", "reg4_")),
)
ignored = ("head.*", "fc_norm.*")


def spec_of(config: Mapping[str, Any]) -> ConfigDict:
    """Return the encoder spec that a config.json names; `model_args` hold what differs from the name."""
    name = config.get("architecture") or config["architectures"][0]
    size, patch, side = re.match(r"\w+?_(\w+)_patch(\d+)_(\w+)", name).groups()  # type: ignore[union-attr]
    pretrained, given = config.get("pretrained_cfg", {}), config.get("model_args", {})
    width, depth, heads = SIZES[size]
    dinov2 = side.endswith("dinov2")
    scale = given.get("init_values", 1e-5 if dinov2 else None)
    pixels = given.get("img_size") or pretrained.get("input_size", [3, 518 if dinov2 else int(side)])[-1]
    patch = given.get("patch_size", int(patch))
    return spec(
        ViT,
        width=given.get("embed_dim", width),
        depth=given.get("depth", depth),
        heads=given.get("num_heads", heads),
        patch=patch,
        ratio=float(given.get("mlp_ratio", 4.0)),
        layer_scale=float(scale or 0.0),
        registers=int(given.get("reg_tokens", 4 if side.startswith("reg4") else 0)),
        positions="learned",
        grid=(pixels // patch, pixels // patch),
        antialias=True,
        **{field: tuple(map(float, pretrained.get(field, IMAGENET[field]))) for field in ("mean", "std")},
    )


def config_of(node: ConfigDict) -> dict[str, Any]:
    """Raise UserError: transformers' ViTModel and Dinov2Model hold the same."""
    raise UserError("aeseg writes transformers' names of a ViT, not timm's.")


def incoming(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors with query, key and value apart, which timm stacks.

    A model with registers has no position of the class token; it becomes a row of zeros.
    """
    parted = {}
    for name, array in tensors.items():
        if ".attn.qkv." not in name:
            parted[name] = array
            continue
        for part, values in zip(("query", "key", "value"), np.split(array, 3), strict=True):
            parted[name.replace(".qkv.", f".{part}.")] = values
    if "reg_token" in parted and "pos_embed" in parted:
        parted["pos_embed"] = np.pad(parted["pos_embed"], ((0, 0), (1, 0), (0, 0)))
    return parted


def rules(node: ConfigDict) -> list[Rule | Buffer]:
    """Return the rules for the tensors after `incoming`."""
    theirs, ours = "blocks.{i}", "params/encoder/blocks"
    layers = {f"attn.{name}": name for name in ("query", "key", "value")}
    layers |= {"attn.proj": "projection", "mlp.fc1": "expand", "mlp.fc2": "contract"}
    entries: list[Rule | Buffer] = []
    for their, our in layers.items():
        entries += linear_rules(f"{theirs}.{their}", f"{ours}/{our}")
    if node.layer_scale:
        entries += [Rule(f"{theirs}.ls1.gamma", f"{ours}/attention_scale"), Rule(f"{theirs}.ls2.gamma", f"{ours}/mlp_scale")]
    return [
        Rule("cls_token", "params/encoder/class_token"),
        *([Rule("reg_token", "params/encoder/registers")] if node.registers else []),
        Rule("pos_embed", "params/encoder/position_table", "row"),
        Rule("patch_embed.proj.weight", "params/encoder/patches/kernel", "convolution"),
        Rule("patch_embed.proj.bias", "params/encoder/patches/bias"),
        *entries,
        *norm_rules(f"{theirs}.norm1", f"{ours}/norm_before"),
        *norm_rules(f"{theirs}.norm2", f"{ours}/norm_after"),
        *norm_rules("norm", "params/encoder/norm"),
    ]
