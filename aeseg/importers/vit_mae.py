"""Hugging Face ViTMAE: the whole masked autoencoder, encoder and decoder."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from aeseg import masking
from aeseg.importers import vit
from aeseg.importers.rules import Buffer, Rule, norm_rules
from aeseg.methods.masked import Masked
from aeseg.models.token_decoder import TokenDecoder
from aeseg.spec import spec
from aeseg.types import UserError

architectures = ("ViTMAEForPreTraining",)


def spec_of(config: Mapping[str, Any]) -> ConfigDict:
    """Return the method spec that a config.json describes; positions are learned, since the weights hold the tables."""
    return spec(
        Masked,
        encoder=vit.spec_of(config),
        decoder=spec(TokenDecoder, **{**vit.fields_of(config, "decoder_"), "grid": vit.grid_of(config)}),
        sampler=spec(masking.Random, ratio=config.get("mask_ratio", 0.75)),
        standardised=config.get("norm_pix_loss", False),
    )


def config_of(node: ConfigDict) -> dict[str, Any]:
    """Return the config.json of a method; UserError if ViTMAEForPreTraining cannot represent it."""
    vit.check(node, "target", "aeseg.methods.masked:Masked")
    vit.check(node, "mask_token_in_encoder", False)
    if node.encoder.epsilon != node.decoder.epsilon or tuple(node.encoder.grid) != tuple(node.decoder.grid):
        raise UserError(
            "ViTMAE has one epsilon and one grid for encoder and decoder; got "
            f"{node.encoder.epsilon} and {node.decoder.epsilon}, {tuple(node.encoder.grid)} and "
            f"{tuple(node.decoder.grid)}. Set equal values."
        )
    if node.encoder.grid[0] != node.encoder.grid[1]:
        raise UserError(
            f"ViTMAE needs a square grid; got {tuple(node.encoder.grid)}. "
            "With fixed positions, which fit any grid, set a square grid. With learned positions, train with a square window."
        )
    return {
        **vit.config_of(node.encoder),
        "architectures": ["ViTMAEForPreTraining"],
        "model_type": "vit_mae",
        **vit.config_fields(node.decoder, "decoder_"),
        "mask_ratio": node.sampler.ratio,
        "norm_pix_loss": node.standardised,
    }


def rules(node: ConfigDict) -> list[Rule | Buffer]:
    """Return the rules for the tensors of ViTMAEForPreTraining."""
    return [
        *vit.rules(node.encoder),
        Rule("decoder.decoder_embed.weight", "params/decoder/embed/kernel", "linear"),
        Rule("decoder.decoder_embed.bias", "params/decoder/embed/bias"),
        Rule("decoder.mask_token", "params/decoder/mask_token"),
        vit.position_rule(node.decoder, "decoder.decoder_pos_embed", "params/decoder/position_table"),
        *vit.block_rules("decoder.decoder_encoder.layer.{i}", "params/decoder/blocks"),
        *norm_rules("decoder.decoder_norm", "params/decoder/norm"),
        Rule("decoder.decoder_pred.weight", "params/decoder/pixels/kernel", "linear"),
        Rule("decoder.decoder_pred.bias", "params/decoder/pixels/bias"),
    ]
