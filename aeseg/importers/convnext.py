"""Hugging Face's ConvNeXt, version 1: the encoder, without the classifier and the norm before it."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from aeseg.importers.convnextv2 import config_fields, encoder_rules, fields_of
from aeseg.importers.rules import Buffer, Rule
from aeseg.models.encoders.convnextv2 import ConvNeXtV2
from aeseg.spec import spec
from aeseg.types import UserError

architectures = ("ConvNextModel", "ConvNextForImageClassification", "ConvNextBackbone")
prefix = "convnext."
ignored = ("convnext.layernorm.*", "classifier.*")


def spec_of(config: Mapping[str, Any]) -> ConfigDict:
    """The encoder that a config.json describes."""
    scale = float(config.get("layer_scale_init_value", 1e-6))
    return spec(ConvNeXtV2, **fields_of(config, "ConvNextBackbone"), response_norm=False, layer_scale=scale)


def config_of(described: ConfigDict) -> dict[str, Any]:
    """The config.json of an encoder; UserError for what ConvNextModel has no place for."""
    if described.get("response_norm", True):
        raise UserError("ConvNextModel has no response norms; this encoder has them. Version 2 is written as ConvNextV2Model.")
    return {**config_fields(described, "ConvNext", "convnext"), "layer_scale_init_value": described.layer_scale}


def rules(described: ConfigDict) -> list[Rule | Buffer]:
    """The tensors of ConvNextModel, with `convnext.` before their names."""
    return encoder_rules(described, prefix)
