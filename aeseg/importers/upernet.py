"""UPerNet of Hugging Face with ConvNeXt below it: a segmenter whole, auxiliary head included."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from aeseg.importers import convnext
from aeseg.importers.convnextv2 import encoder_rules
from aeseg.importers.rules import Buffer, Rule
from aeseg.methods.segmenter import Segmenter
from aeseg.models.heads.upernet import UPerNetHead
from aeseg.spec import spec
from aeseg.types import UserError

architectures = ("UperNetForSemanticSegmentation",)
STAGES = ("stage1", "stage2", "stage3", "stage4")

# What transformers takes where a config.json says nothing.
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
    """Our segmenter for a config.json; UserError for backbones and variants that ours does not have."""
    config = {**DEFAULTS, **config}
    backbone = {"out_features": (), **(config.get("backbone_config") or {}), "architectures": ["ConvNextBackbone"]}
    found = {
        "backbone model_type": (backbone.get("model_type"), "convnext"),
        "out_features": (tuple(backbone["out_features"]), STAGES),
        "auxiliary_num_convs": (config["auxiliary_num_convs"], 1),
        "auxiliary_concat_input": (config["auxiliary_concat_input"], False),
    }
    for name, (given, ours) in found.items():
        if given != ours:
            raise UserError(f"UPerNet is read with {name} {ours!r}; config.json has {given!r}. Such weights need another family.")
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


def config_of(described: ConfigDict) -> dict[str, Any]:
    """The config.json of a Segmenter of ConvNeXt (version 1, every stride normed) and UPerNetHead; UserError for anything else."""
    if described.target.split(":")[1] != "Segmenter":
        raise UserError(f"UPerNet is a segmenter whole; this is a {described.target.split(':')[1]}. Export it with a family of encoders.")
    head, backbone = described.head, convnext.config_of(described.encoder)
    if head.target.split(":")[1] != "UPerNetHead":
        raise UserError(f"UPerNet has a UPerNetHead; this model has a {head.target.split(':')[1]}. Export its encoder alone.")
    if tuple(backbone.get("out_features", ())) != STAGES or not described.encoder.layer_scale or head.strides:
        raise UserError(
            "UPerNet of Hugging Face reads all four strides (strides=()) of a ConvNeXt with layer scale, each normed "
            f"(normed=(4, 8, 16, 32)); this head reads {tuple(head.strides)}, and of its encoder {tuple(described.encoder.normed)} "
            "are normed. Train such a model to export it."
        )
    labels = {str(place): f"LABEL_{place}" for place in range(head.classes)}
    return {
        "architectures": list(architectures),
        "model_type": "upernet",
        "hidden_size": head.width,
        "pool_scales": list(head.pools),
        "use_auxiliary_head": bool(head.deep_supervision),
        "auxiliary_loss_weight": described.auxiliary_weight,
        "auxiliary_channels": head.auxiliary_width,
        "id2label": labels,
        "label2id": {name: int(place) for place, name in labels.items()},
        "loss_ignore_index": 255,
        "backbone_config": backbone,
    }


def rules(described: ConfigDict) -> list[Rule | Buffer]:
    """Names as they stand in files of weights."""
    head = described.head
    found = encoder_rules(described.encoder, "backbone.") + _both("decode_head.classifier", "params/head/logits", "convolution")
    found += _normed_convolution("decode_head.bottleneck", "bottleneck") + _normed_convolution("decode_head.fpn_bottleneck", "join")
    for place in range(len(head.pools)):
        found += _normed_convolution(f"decode_head.psp_modules.{place}.1", f"pool{place}")
    for place in range(len(STAGES) - 1):
        found += _normed_convolution(f"decode_head.lateral_convs.{place}", f"lateral{place}")
        found += _normed_convolution(f"decode_head.fpn_convs.{place}", f"smooth{place}")
    if head.deep_supervision:
        found += _normed_convolution("auxiliary_head.convs.0", "auxiliary")
        found += _both("auxiliary_head.classifier", "params/head/auxiliary_logits", "convolution")
    return found


def _normed_convolution(theirs: str, ours: str) -> list[Rule | Buffer]:
    return [
        Rule(f"{theirs}.conv.weight", f"params/head/{ours}/convolution/kernel", "convolution"),
        *_norm(f"{theirs}.batch_norm", f"params/head/{ours}/norm"),
        Rule(f"{theirs}.batch_norm.running_mean", f"batch_stats/head/{ours}/norm/mean"),
        Rule(f"{theirs}.batch_norm.running_var", f"batch_stats/head/{ours}/norm/var"),
        Buffer(f"{theirs}.batch_norm.num_batches_tracked", np.int64(0)),
    ]


def _both(theirs: str, ours: str, form: str) -> list[Rule]:
    return [Rule(f"{theirs}.weight", f"{ours}/kernel", form), Rule(f"{theirs}.bias", f"{ours}/bias")]


def _norm(theirs: str, ours: str) -> list[Rule]:
    return [Rule(f"{theirs}.weight", f"{ours}/scale"), Rule(f"{theirs}.bias", f"{ours}/bias")]
