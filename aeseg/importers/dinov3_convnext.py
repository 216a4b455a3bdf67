"""Hugging Face DINOv3's ConvNeXt (Siméoni et al. 2025): version 1, without the norm after the last stage."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from aeseg.importers import convnextv2
from aeseg.importers.rules import Buffer, Rule, layer_rules, norm_rules
from aeseg.models.encoders.convnextv2 import ConvNeXtV2
from aeseg.spec import spec
from aeseg.types import UserError

architectures = ("DINOv3ConvNextModel", "DINOv3ConvNextBackbone")
ignored = ("layer_norm.*",)


def spec_of(config: Mapping[str, Any]) -> ConfigDict:
    """Return the encoder spec that a config.json describes."""
    fields = convnextv2.fields_of({**config, "patch_size": 4}, "")
    return spec(ConvNeXtV2, **fields, response_norm=False, layer_scale=float(config.get("layer_scale_init_value", 1e-6)))


def config_of(node: ConfigDict) -> dict[str, Any]:
    """Return the config.json of an encoder; UserError if DINOv3ConvNextModel cannot represent it."""
    if node["target"] != convnextv2.TARGET or node.response_norm or node.normed or node.stem != 4 or not node.layer_scale:
        raise UserError("DINOv3's ConvNeXt is version 1 with a stem of 4 pixels, a layer scale and no output norms; this encoder is not.")
    fields = convnextv2.config_fields(node, "DINOv3ConvNext", "dinov3_convnext")
    kept = ("architectures", "model_type", "num_channels", "hidden_sizes", "depths", "drop_path_rate", "hidden_act", "image_size")
    return {**{name: fields[name] for name in kept}, "layer_scale_init_value": node.layer_scale}


def rules(node: ConfigDict) -> list[Rule | Buffer]:
    """Return the rules for the tensors of DINOv3ConvNextModel."""
    theirs, ours = "stages.{i}.layers.{j}", "params/encoder/stage{i}/block{j}"
    entries: list[Rule | Buffer] = [
        *layer_rules("stages.0.downsample_layers.0", "params/encoder/stem", "convolution"),
        *norm_rules("stages.0.downsample_layers.1", "params/encoder/stem_norm"),
        *layer_rules(f"{theirs}.depthwise_conv", f"{ours}/depthwise", "convolution"),
        *norm_rules(f"{theirs}.layer_norm", f"{ours}/norm"),
        *layer_rules(f"{theirs}.pointwise_conv1", f"{ours}/expand", "linear"),
        *layer_rules(f"{theirs}.pointwise_conv2", f"{ours}/reduce", "linear"),
        Rule(f"{theirs}.gamma", f"{ours}/layer_scale"),
    ]
    for stage in range(1, len(node.widths)):
        entries += norm_rules(f"stages.{stage}.downsample_layers.0", f"params/encoder/stage{stage}/down_norm")
        entries += layer_rules(f"stages.{stage}.downsample_layers.1", f"params/encoder/stage{stage}/down", "convolution")
    width = node.widths[-1]
    return [*entries, Buffer("layer_norm.weight", np.ones(width, np.float32)), Buffer("layer_norm.bias", np.zeros(width, np.float32))]
