"""Hugging Face ConvNeXt V2: the encoder, without the classifier and the norm before it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from aeseg.importers.rules import Buffer, Rule, layer_rules, norm_rules
from aeseg.models.encoders.convnextv2 import ConvNeXtV2
from aeseg.spec import spec
from aeseg.types import UserError

architectures = ("ConvNextV2Model", "ConvNextV2ForImageClassification", "ConvNextV2Backbone")
prefix = "convnextv2."
ignored = ("convnextv2.layernorm.*", "classifier.*")

TARGET = "aeseg.models.encoders.convnextv2:ConvNeXtV2"


def spec_of(config: Mapping[str, Any]) -> ConfigDict:
    """Return the encoder spec that a config.json describes."""
    return spec(ConvNeXtV2, **fields_of(config, "ConvNextV2Backbone"))


def config_of(node: ConfigDict) -> dict[str, Any]:
    """Return the config.json of an encoder; UserError if ConvNextV2Model cannot represent it."""
    if not node.get("response_norm", False) or node.get("layer_scale", 0.0):
        raise UserError(
            "ConvNextV2Model has response norms and no layer scale; this encoder has "
            f"response_norm {node.get('response_norm', False)}, layer_scale {node.get('layer_scale', 0.0)}. "
            "Export it as ConvNextModel (version 1)."
        )
    return config_fields(node, "ConvNextV2", "convnextv2")


def rules(node: ConfigDict) -> list[Rule | Buffer]:
    """Return the rules for the tensors of ConvNextV2Model, with names that begin with `convnextv2.`."""
    return encoder_rules(node, prefix)


def fields_of(config: Mapping[str, Any], backbone: str) -> dict[str, Any]:
    """Return the spec fields that both versions share. The architecture `backbone` has norms at its output strides."""
    widths, patch = tuple(config.get("hidden_sizes") or (96, 192, 384, 768)), config.get("patch_size", 4)
    if config.get("hidden_act", "gelu") != "gelu" or not isinstance(patch, int):
        raise UserError(
            f"aeseg's ConvNeXt has hidden_act 'gelu' and square patches; this config.json says {config.get('hidden_act', 'gelu')!r} and "
            f"patch_size {patch}. Name other weights."
        )
    normed = ()
    if backbone in (config.get("architectures") or ()):
        named = [int(name.removeprefix("stage")) for name in config.get("out_features") or ()]
        stages = config.get("out_indices") or named or [len(widths)]
        normed = tuple(patch * 2 ** (stage - 1) for stage in stages)
    return {
        "widths": widths,
        "depths": tuple(config.get("depths") or (3, 3, 9, 3)),
        "stem": patch,
        "drop_path": float(config.get("drop_path_rate", 0.0)),
        "normed": normed,
    }


def config_fields(node: ConfigDict, kind: str, model_type: str) -> dict[str, Any]:
    """Return the config.json fields of an encoder of either version: the inverse of `fields_of`."""
    if node["target"] != TARGET:
        raise UserError(f"{kind}Model holds a ConvNeXtV2 encoder; got {node['target']}. Export it with the family of its encoder.")
    stages = [(stride // node.stem).bit_length() for stride in sorted(node.normed)]
    backbone = {"out_indices": stages, "out_features": [f"stage{stage}" for stage in stages]} if stages else {}
    return {
        "architectures": [f"{kind}Backbone" if stages else f"{kind}Model"],
        "model_type": model_type,
        "num_channels": 3,
        "patch_size": node.stem,
        "num_stages": len(node.widths),
        "hidden_sizes": list(node.widths),
        "depths": list(node.depths),
        "drop_path_rate": node.drop_path,
        "hidden_act": "gelu",
        "image_size": 224,
        **backbone,
    }


def encoder_rules(node: ConfigDict, before: str) -> list[Rule | Buffer]:
    """Return the rules for the tensors of a ConvNeXt of either version, with names that begin with `before`.

    The encoder here lacks the norm before the classifier, over the mean of all positions; it is written as the identity.
    """
    stage, block = "params/encoder/stage{i}", "params/encoder/stage{i}/block{j}"
    their_stage, their_block = f"{before}encoder.stages.{{i}}", f"{before}encoder.stages.{{i}}.layers.{{j}}"
    entries: list[Rule | Buffer] = [
        *layer_rules(f"{before}embeddings.patch_embeddings", "params/encoder/stem", "convolution"),
        *norm_rules(f"{before}embeddings.layernorm", "params/encoder/stem_norm"),
        *layer_rules(f"{their_block}.dwconv", f"{block}/depthwise", "convolution"),
        *norm_rules(f"{their_block}.layernorm", f"{block}/norm"),
        *layer_rules(f"{their_block}.pwconv1", f"{block}/expand", "linear"),
        *layer_rules(f"{their_block}.pwconv2", f"{block}/reduce", "linear"),
    ]
    if len(node.widths) > 1:
        entries += norm_rules(f"{their_stage}.downsampling_layer.0", f"{stage}/down_norm")
        entries += layer_rules(f"{their_stage}.downsampling_layer.1", f"{stage}/down", "convolution")
    if node.response_norm:
        entries.append(Rule(f"{their_block}.grn.weight", f"{block}/response/gamma", "channels"))
        entries.append(Rule(f"{their_block}.grn.bias", f"{block}/response/beta", "channels"))
    if node.layer_scale:
        entries.append(Rule(f"{their_block}.layer_scale_parameter", f"{block}/layer_scale"))
    for stride in node.normed:
        number = (stride // node.stem).bit_length()
        entries += norm_rules(f"{before}hidden_states_norms.stage{number}", f"params/encoder/output_norm{stride}")
    if not node.normed:
        width = node.widths[-1]
        entries.append(Buffer(f"{before}layernorm.weight", np.ones(width, np.float32)))
        entries.append(Buffer(f"{before}layernorm.bias", np.zeros(width, np.float32)))
    return entries
