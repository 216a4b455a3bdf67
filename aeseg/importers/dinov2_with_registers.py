"""Hugging Face DINOv2 with registers (Darcet et al. 2024): DINOv2 with extra tokens for global information."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from aeseg.importers import dinov2
from aeseg.importers.rules import Buffer, Rule
from aeseg.types import UserError

architectures = ("Dinov2WithRegistersModel", "Dinov2WithRegistersForImageClassification", "Dinov2WithRegistersBackbone")
prefix = "dinov2_with_registers."
ignored = ("dinov2_with_registers.embeddings.mask_token", "classifier.*")


def spec_of(config: Mapping[str, Any]) -> ConfigDict:
    """Return the encoder spec that a config.json describes; their positions are resized with antialiasing."""
    node = dinov2.spec_of(config)
    node.update(registers=int(config.get("num_register_tokens", 4)), antialias=True)
    return node


def config_of(node: ConfigDict) -> dict[str, Any]:
    """Return the config.json of an encoder; UserError if Dinov2WithRegistersModel cannot represent it."""
    if not node.get("registers"):
        raise UserError("DINOv2 with registers has registers; this encoder has none. Export it as Dinov2Model.")
    fields = dinov2.config_fields(node, node.registers, antialias=True)
    named = {"architectures": ["Dinov2WithRegistersModel"], "model_type": "dinov2_with_registers"}
    return {**fields, **named, "num_register_tokens": node.registers}


def rules(node: ConfigDict) -> list[Rule | Buffer]:
    """Return the rules for the tensors of Dinov2WithRegistersModel."""
    return dinov2.rules(node, prefix)
