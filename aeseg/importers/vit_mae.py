"""Hugging Face's ViTMAE: the masked autoencoder whole, encoder and decoder."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from aeseg import masking
from aeseg.importers import vit
from aeseg.importers.rules import Buffer, Rule
from aeseg.methods.masked import Masked
from aeseg.models.token_decoder import TokenDecoder
from aeseg.spec import spec
from aeseg.types import UserError

architectures = ("ViTMAEForPreTraining",)


def spec_of(config: Mapping[str, Any]) -> ConfigDict:
    """The method that a config.json describes; positions are learned ones: the tables come with the weights, and may be tuned."""
    return spec(
        Masked,
        encoder=vit.spec_of(config),
        decoder=spec(TokenDecoder, **{**vit.fields_of(config, "decoder_"), "grid": vit.grid_of(config)}),
        sampler=spec(masking.Random, ratio=config.get("mask_ratio", 0.75)),
        standardised=config.get("norm_pix_loss", False),
    )


def config_of(described: ConfigDict) -> dict[str, Any]:
    """The config.json of a method.  UserError for what ViTMAEForPreTraining has no place for."""
    vit.check(described, "target", "aeseg.methods.masked:Masked")
    vit.check(described, "mask_token_in_encoder", False)
    if described.encoder.epsilon != described.decoder.epsilon or tuple(described.encoder.grid) != tuple(described.decoder.grid):
        raise UserError(
            "ViTMAE has one epsilon and one grid for encoder and decoder; this one has "
            f"{described.encoder.epsilon} and {described.decoder.epsilon}, {tuple(described.encoder.grid)} and "
            f"{tuple(described.decoder.grid)}. Set them alike."
        )
    if described.encoder.grid[0] != described.encoder.grid[1]:
        raise UserError(
            f"ViTMAE of transformers cannot be made for a grid that is not square; this one has {tuple(described.encoder.grid)}. "
            "Fixed positions fit any grid: with them, set a square one. Learned ones need a square window in training."
        )
    return {
        **vit.config_of(described.encoder),
        "architectures": ["ViTMAEForPreTraining"],
        "model_type": "vit_mae",
        **vit.config_fields(described.decoder, "decoder_"),
        "mask_ratio": described.sampler.ratio,
        "norm_pix_loss": described.standardised,
    }


def rules(described: ConfigDict) -> list[Rule | Buffer]:
    """The tensors of ViTMAEForPreTraining."""
    return [
        *vit.rules(described.encoder),
        Rule("decoder.decoder_embed.weight", "params/decoder/embed/kernel", "linear"),
        Rule("decoder.decoder_embed.bias", "params/decoder/embed/bias"),
        Rule("decoder.mask_token", "params/decoder/mask_token"),
        vit.position_rule(described.decoder, "decoder.decoder_pos_embed", "params/decoder/position_table"),
        *vit.block_rules("decoder.decoder_encoder.layer.{i}", "params/decoder/blocks"),
        *vit.norm_rules("decoder.decoder_norm", "params/decoder/norm"),
        Rule("decoder.decoder_pred.weight", "params/decoder/pixels/kernel", "linear"),
        Rule("decoder.decoder_pred.bias", "params/decoder/pixels/bias"),
    ]
