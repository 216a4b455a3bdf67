"""Hugging Face UPerNet on ConvNeXt: a whole segmenter, with its auxiliary head."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from aeseg.importers import convnext
from aeseg.importers.convnextv2 import encoder_rules
from aeseg.importers.rules import Buffer, Rule, layer_rules, norm_rules
from aeseg.methods.segmenter import Segmenter
from aeseg.models.heads.upernet import UPerNetHead
from aeseg.spec import spec
from aeseg.types import UserError

architectures = ("UperNetForSemanticSegmentation",)
STAGES = ("stage1", "stage2", "stage3", "stage4")

# The defaults of transformers, for fields that a config.json lacks.
DEFAULTS = {
    "hidden_size": 512,
    "pool_scales": (1, 2, 3, 6),
    "use_auxiliary_head": True,
    "auxiliary_loss_weight": 0.4,
    "auxiliary_channels": 256,
    "auxiliary_num_convs": 1,
    "auxiliary_concat_input": False,
    "id2label": (0, 1),
}


def spec_of(config: Mapping[str, Any]) -> ConfigDict:
    """Return the segmenter spec that a config.json describes; UserError for unsupported backbones and variants."""
    config = {**DEFAULTS, **config}
    backbone = {"out_features": (), **(config.get("backbone_config") or {}), "architectures": ["ConvNextBackbone"]}
    required = {
        "backbone model_type": (backbone.get("model_type"), "convnext"),
        "out_features": (tuple(backbone["out_features"]), STAGES),
        "auxiliary_num_convs": (config["auxiliary_num_convs"], 1),
        "auxiliary_concat_input": (config["auxiliary_concat_input"], False),
    }
    for name, (given, ours) in required.items():
        if given != ours:
            raise UserError(f"UPerNet needs {name} {ours!r}; config.json has {given!r}. Use other weights.")
    classes = len(config["id2label"])
    head = spec(
        UPerNetHead,
        classes=classes,
        width=config["hidden_size"],
        pools=tuple(config["pool_scales"]),
        deep_supervision=int(config["use_auxiliary_head"]),
        auxiliary_width=config["auxiliary_channels"],
    )
    weight = float(config["auxiliary_loss_weight"])
    return spec(Segmenter, encoder=convnext.spec_of(backbone), head=head, classes=classes, auxiliary_weight=weight)


def config_of(node: ConfigDict) -> dict[str, Any]:
    """Return the config.json of a Segmenter of ConvNeXt (version 1, every stride normed) and UPerNetHead; UserError otherwise."""
    if node.target.split(":")[1] != "Segmenter":
        raise UserError(f"UPerNet is a whole Segmenter; got {node.target.split(':')[1]}. Export it with a family of encoders.")
    head, backbone = node.head, convnext.config_of(node.encoder)
    if head.target.split(":")[1] != "UPerNetHead":
        raise UserError(f"UPerNet needs UPerNetHead; this model has {head.target.split(':')[1]}. Export only its encoder.")
    if tuple(backbone.get("out_features", ())) != STAGES or not node.encoder.layer_scale or head.strides:
        raise UserError(
            "UPerNet reads all four strides (strides=()) of a ConvNeXt with layer scale, each normed (normed=(4, 8, 16, 32)); "
            f"this head has strides={tuple(head.strides)}, its encoder normed={tuple(node.encoder.normed)} and "
            f"layer_scale={node.encoder.layer_scale}. Train such a model to export it."
        )
    labels = {str(index): f"LABEL_{index}" for index in range(head.classes)}
    return {
        "architectures": list(architectures),
        "model_type": "upernet",
        "hidden_size": head.width,
        "pool_scales": list(head.pools),
        "use_auxiliary_head": bool(head.deep_supervision),
        "auxiliary_loss_weight": node.auxiliary_weight,
        "auxiliary_channels": head.auxiliary_width,
        "id2label": labels,
        "label2id": {name: int(index) for index, name in labels.items()},
        "loss_ignore_index": 255,
        "backbone_config": backbone,
    }


def rules(node: ConfigDict) -> list[Rule | Buffer]:
    """Return the rules, with the names used in weight files."""
    head = node.head
    entries = encoder_rules(node.encoder, "backbone.") + layer_rules("decode_head.classifier", "params/head/logits", "convolution")
    entries += _normed_convolution("decode_head.bottleneck", "bottleneck") + _normed_convolution("decode_head.fpn_bottleneck", "join")
    for level in range(len(head.pools)):
        entries += _normed_convolution(f"decode_head.psp_modules.{level}.1", f"pool{level}")
    for level in range(len(STAGES) - 1):
        entries += _normed_convolution(f"decode_head.lateral_convs.{level}", f"lateral{level}")
        entries += _normed_convolution(f"decode_head.fpn_convs.{level}", f"smooth{level}")
    if head.deep_supervision:
        entries += _normed_convolution("auxiliary_head.convs.0", "auxiliary")
        entries += layer_rules("auxiliary_head.classifier", "params/head/auxiliary_logits", "convolution")
    return entries


def _normed_convolution(theirs: str, ours: str) -> list[Rule | Buffer]:
    return [
        Rule(f"{theirs}.conv.weight", f"params/head/{ours}/convolution/kernel", "convolution"),
        *norm_rules(f"{theirs}.batch_norm", f"params/head/{ours}/norm"),
        Rule(f"{theirs}.batch_norm.running_mean", f"batch_stats/head/{ours}/norm/mean"),
        Rule(f"{theirs}.batch_norm.running_var", f"batch_stats/head/{ours}/norm/var"),
        Buffer(f"{theirs}.batch_norm.num_batches_tracked", np.int64(0)),
    ]
