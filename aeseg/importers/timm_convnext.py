"""timm's ConvNeXt of both versions, as timm saves them; read only."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from aeseg.importers.rules import Buffer, Rule, layer_rules, norm_rules
from aeseg.models.encoders.convnextv2 import ConvNeXtV2
from aeseg.spec import spec
from aeseg.types import UserError

SIZES = {
    "atto": ((40, 80, 160, 320), (2, 2, 6, 2)),
    "femto": ((48, 96, 192, 384), (2, 2, 6, 2)),
    "pico": ((64, 128, 256, 512), (2, 2, 6, 2)),
    "nano": ((80, 160, 320, 640), (2, 2, 8, 2)),
    "tiny": ((96, 192, 384, 768), (3, 3, 9, 3)),
    "small": ((96, 192, 384, 768), (3, 3, 27, 3)),
    "base": ((128, 256, 512, 1024), (3, 3, 27, 3)),
    "large": ((192, 384, 768, 1536), (3, 3, 27, 3)),
    "huge": ((352, 704, 1408, 2816), (3, 3, 27, 3)),
}
"""Widths and depths (Liu et al. 2022, section 3; Woo et al. 2023, section 4)."""

architectures = tuple(f"{version}_{size}" for version in ("convnext", "convnextv2") for size in SIZES)
ignored = ("head.*", "norm_pre.*")


def spec_of(config: Mapping[str, Any]) -> ConfigDict:
    """Return the encoder spec that a config.json names; `model_args` hold what differs from the name."""
    version, size = (config.get("architecture") or config["architectures"][0]).split("_")
    given, pretrained, second = config.get("model_args", {}), config.get("pretrained_cfg", {}), version == "convnextv2"
    widths, depths = SIZES[size]
    statistics = {name: tuple(map(float, pretrained[name])) for name in ("mean", "std") if name in pretrained}
    return spec(
        ConvNeXtV2,
        widths=tuple(given.get("dims", widths)),
        depths=tuple(given.get("depths", depths)),
        response_norm=second,
        layer_scale=0.0 if second else float(given.get("ls_init_value", 1e-6)),
        **statistics,
    )


def config_of(node: ConfigDict) -> dict[str, Any]:
    """Raise UserError: transformers' ConvNextModel and ConvNextV2Model hold the same."""
    raise UserError("aeseg writes transformers' names of a ConvNeXt, not timm's.")


def rules(node: ConfigDict) -> list[Rule | Buffer]:
    """Return the rules for the tensors; the multilayer perceptrons of small models are 1x1 convolutions in timm, of large ones linear."""
    theirs, ours = "stages.{i}.blocks.{j}", "params/encoder/stage{i}/block{j}"
    entries: list[Rule | Buffer] = [
        *layer_rules("stem.0", "params/encoder/stem", "convolution"),
        *norm_rules("stem.1", "params/encoder/stem_norm"),
        *layer_rules(f"{theirs}.conv_dw", f"{ours}/depthwise", "convolution"),
        *norm_rules(f"{theirs}.norm", f"{ours}/norm"),
        *layer_rules(f"{theirs}.mlp.fc1", f"{ours}/expand", "linear"),
        *layer_rules(f"{theirs}.mlp.fc2", f"{ours}/reduce", "linear"),
    ]
    if len(node.widths) > 1:
        entries += norm_rules("stages.{i}.downsample.0", "params/encoder/stage{i}/down_norm")
        entries += layer_rules("stages.{i}.downsample.1", "params/encoder/stage{i}/down", "convolution")
    if node.response_norm:
        entries += [Rule(f"{theirs}.mlp.grn.weight", f"{ours}/response/gamma"), Rule(f"{theirs}.mlp.grn.bias", f"{ours}/response/beta")]
    if node.layer_scale:
        entries.append(Rule(f"{theirs}.gamma", f"{ours}/layer_scale"))
    return entries


def incoming(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors with linear layers in place of 1x1 convolutions."""
    return {
        name: array[:, :, 0, 0] if ".mlp.fc" in name and array.ndim == 4 and array.shape[2:] == (1, 1) else array
        for name, array in tensors.items()
    }
