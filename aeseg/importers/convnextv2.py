"""Hugging Face's ConvNeXt V2: the encoder, without the classifier and the norm before it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from aeseg.importers.rules import Buffer, Rule
from aeseg.models.encoders.convnextv2 import ConvNeXtV2
from aeseg.spec import spec
from aeseg.types import UserError

architectures = ("ConvNextV2Model", "ConvNextV2ForImageClassification", "ConvNextV2Backbone")
prefix = "convnextv2."
ignored = ("convnextv2.layernorm.*", "classifier.*")

TARGET = "aeseg.models.encoders.convnextv2:ConvNeXtV2"


def spec_of(config: Mapping[str, Any]) -> ConfigDict:
    """The encoder that a config.json describes."""
    return spec(ConvNeXtV2, **fields_of(config, "ConvNextV2Backbone"))


def config_of(described: ConfigDict) -> dict[str, Any]:
    """The config.json of an encoder; UserError for what ConvNextV2Model has no place for."""
    if not described.get("response_norm", False) or described.get("layer_scale", 0.0):
        raise UserError(
            "ConvNextV2Model has response norms and no layer scale; this encoder has "
            f"response_norm {described.get('response_norm', False)}, layer_scale {described.get('layer_scale', 0.0)}. "
            "Version 1 is written as ConvNextModel."
        )
    return config_fields(described, "ConvNextV2", "convnextv2")


def rules(described: ConfigDict) -> list[Rule | Buffer]:
    """The tensors of ConvNextV2Model, with `convnextv2.` before their names."""
    return encoder_rules(described, prefix)


def fields_of(config: Mapping[str, Any], backbone: str) -> dict[str, Any]:
    """The fields of a config.json that both versions have; a `backbone` has norms at the strides it gives."""
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


def config_fields(described: ConfigDict, kind: str, model_type: str) -> dict[str, Any]:
    """The inverse of `fields_of`, for both versions."""
    if described["target"] != TARGET:
        raise UserError(f"{kind}Model is a ConvNeXtV2 of aeseg; this is {described['target']}. It cannot be written so.")
    stages = [(stride // described.stem).bit_length() for stride in sorted(described.normed)]
    backbone = {"out_indices": stages, "out_features": [f"stage{stage}" for stage in stages]} if stages else {}
    return {
        "architectures": [f"{kind}Backbone" if stages else f"{kind}Model"],
        "model_type": model_type,
        "num_channels": 3,
        "patch_size": described.stem,
        "num_stages": len(described.widths),
        "hidden_sizes": list(described.widths),
        "depths": list(described.depths),
        "drop_path_rate": described.drop_path,
        "hidden_act": "gelu",
        "image_size": 224,
        **backbone,
    }


def encoder_rules(described: ConfigDict, before: str) -> list[Rule | Buffer]:
    """The tensors of a ConvNeXt of either version, with `before` before their names.

    The classifier's norm, over the mean of all positions, is nothing of ours: it is written as one that changes nothing.
    """
    stage, block = "params/encoder/stage{i}", "params/encoder/stage{i}/block{j}"
    their_stage, their_block = f"{before}encoder.stages.{{i}}", f"{before}encoder.stages.{{i}}.layers.{{j}}"
    found: list[Rule | Buffer] = [
        *_pair(f"{before}embeddings.patch_embeddings", "params/encoder/stem", "convolution"),
        *_norm(f"{before}embeddings.layernorm", "params/encoder/stem_norm"),
        *_pair(f"{their_block}.dwconv", f"{block}/depthwise", "convolution"),
        *_norm(f"{their_block}.layernorm", f"{block}/norm"),
        *_pair(f"{their_block}.pwconv1", f"{block}/expand", "linear"),
        *_pair(f"{their_block}.pwconv2", f"{block}/reduce", "linear"),
    ]
    if len(described.widths) > 1:
        found += _norm(f"{their_stage}.downsampling_layer.0", f"{stage}/down_norm")
        found += _pair(f"{their_stage}.downsampling_layer.1", f"{stage}/down", "convolution")
    if described.response_norm:
        found.append(Rule(f"{their_block}.grn.weight", f"{block}/response/gamma", "channels"))
        found.append(Rule(f"{their_block}.grn.bias", f"{block}/response/beta", "channels"))
    if described.layer_scale:
        found.append(Rule(f"{their_block}.layer_scale_parameter", f"{block}/layer_scale"))
    for stride in described.normed:
        number = (stride // described.stem).bit_length()
        found += _norm(f"{before}hidden_states_norms.stage{number}", f"params/encoder/output_norm{stride}")
    if not described.normed:
        width = described.widths[-1]
        found.append(Buffer(f"{before}layernorm.weight", np.ones(width, np.float32)))
        found.append(Buffer(f"{before}layernorm.bias", np.zeros(width, np.float32)))
    return found


def _pair(theirs: str, ours: str, form: str) -> list[Rule]:
    return [Rule(f"{theirs}.weight", f"{ours}/kernel", form), Rule(f"{theirs}.bias", f"{ours}/bias")]


def _norm(theirs: str, ours: str) -> list[Rule]:
    return [Rule(f"{theirs}.weight", f"{ours}/scale"), Rule(f"{theirs}.bias", f"{ours}/bias")]
