"""Hugging Face ConvNeXt (version 1): the encoder, without the classifier and the norm before it."""

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
    """Return the encoder spec that a config.json describes."""
    scale = float(config.get("layer_scale_init_value", 1e-6))
    return spec(ConvNeXtV2, **fields_of(config, "ConvNextBackbone"), response_norm=False, layer_scale=scale)


def config_of(node: ConfigDict) -> dict[str, Any]:
    """Return the config.json of an encoder; UserError if ConvNextModel cannot represent it."""
    if node.get("response_norm", True):
        raise UserError("ConvNextModel has no response norms; this encoder has them. Export it as ConvNextV2Model (version 2).")
    return {**config_fields(node, "ConvNext", "convnext"), "layer_scale_init_value": node.layer_scale}


def rules(node: ConfigDict) -> list[Rule | Buffer]:
    """Return the rules for the tensors of ConvNextModel, with names that begin with `convnext.`."""
    return encoder_rules(node, prefix)
