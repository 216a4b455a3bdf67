"""Hugging Face SegFormer: a segmenter (MiT with its all-MLP head), or only the encoder (`nvidia/mit-b0`)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from aeseg.importers.rules import Buffer, Rule, layer_rules, norm_rules
from aeseg.methods.segmenter import Segmenter
from aeseg.models.encoders.mit import MiT
from aeseg.models.encoders.vit import IMAGENET
from aeseg.models.heads.segformer import SegFormerHead
from aeseg.spec import spec
from aeseg.types import UserError

SEGMENTER, ENCODER = "SegformerForSemanticSegmentation", "SegformerModel"
architectures = (SEGMENTER, ENCODER, "SegformerForImageClassification")
ignored = ("classifier.*",)
prefix = "segformer."
statistics = IMAGENET

STAGE = "params/encoder/stage{i}"
BLOCK = "params/encoder/stage{i}/blocks"
FIELDS = {
    "widths": "hidden_sizes",
    "depths": "depths",
    "heads": "num_attention_heads",
    "reductions": "sr_ratios",
    "sizes": "patch_sizes",
    "strides": "strides",
}
"""{our field of MiT: field of config.json}, for fields with one value per stage."""


def spec_of(config: Mapping[str, Any]) -> ConfigDict:
    """Return the segmenter or encoder spec that a config.json describes; UserError for variants that MiT lacks."""
    config = {**config_of(spec(MiT, drop_path=0.1)), **config}  # transformers' defaults: b0, drop path 0.1
    ratios = set(config["mlp_ratios"])
    if config["hidden_act"] != "gelu" or len(ratios) > 1:
        raise UserError(
            f"MiT has the activation gelu and one ratio for all stages; config.json has {config['hidden_act']!r} and {sorted(ratios)}. "
            "Use other weights."
        )
    sequences = {ours: tuple(config[theirs]) for ours, theirs in FIELDS.items()}
    encoder = spec(MiT, **sequences, ratio=int(ratios.pop()), drop_path=float(config["drop_path_rate"]))
    if SEGMENTER not in config["architectures"]:
        return encoder
    width, dropout = config.get("decoder_hidden_size", 256), float(config.get("classifier_dropout_prob", 0.1))
    classes = len(config.get("id2label", (0, 1)))
    return spec(Segmenter, encoder=encoder, head=spec(SegFormerHead, classes=classes, width=width, dropout=dropout), classes=classes)


def config_of(node: ConfigDict) -> dict[str, Any]:
    """Return the config.json of a Segmenter of MiT and SegFormerHead, or of MiT; UserError for any other spec."""
    encoder = node.encoder if "encoder" in node else node
    _check(encoder, MiT)
    config = {
        "architectures": [ENCODER],
        "model_type": "segformer",
        **{theirs: list(encoder[ours]) for ours, theirs in FIELDS.items()},
        "num_encoder_blocks": len(encoder.widths),
        "mlp_ratios": [encoder.ratio] * len(encoder.widths),
        "hidden_act": "gelu",
        "drop_path_rate": encoder.drop_path,
    }
    if "encoder" not in node:
        return config
    _check(node, Segmenter)
    head = node.head
    _check(head, SegFormerHead)
    if head.strides or len(encoder.widths) > 4:
        raise UserError(f"SegFormer's head reads every stride of its encoder; this head reads {list(head.strides)}. Set strides=().")
    labels = {str(index): f"LABEL_{index}" for index in range(head.classes)}
    return {
        **config,
        "architectures": [SEGMENTER],
        "decoder_hidden_size": head.width,
        "classifier_dropout_prob": head.dropout,
        "id2label": labels,
        "label2id": {name: int(index) for index, name in labels.items()},
        "semantic_loss_ignore_index": 255,
    }


def rules(node: ConfigDict) -> list[Rule | Buffer]:
    """Return the rules, with the names used in weight files (transformers 5 uses other names in memory)."""
    encoder = node.encoder if "encoder" in node else node
    entries: list[Rule | Buffer] = [
        *layer_rules("segformer.encoder.patch_embeddings.{i}.proj", f"{STAGE}/patches", "convolution"),
        *norm_rules("segformer.encoder.patch_embeddings.{i}.layer_norm", f"{STAGE}/patches_norm"),
        *norm_rules("segformer.encoder.layer_norm.{i}", f"{STAGE}/norm"),
    ]
    block = "segformer.encoder.block.{i}.{j}"
    for theirs, ours in (("attention.self.query", "query"), ("attention.self.key", "key"), ("attention.self.value", "value")):
        entries += layer_rules(f"{block}.{theirs}", f"{BLOCK}/{ours}", "linear")
    entries += [
        *layer_rules(f"{block}.attention.output.dense", f"{BLOCK}/projection", "linear"),
        *norm_rules(f"{block}.layer_norm_1", f"{BLOCK}/norm_before"),
        *norm_rules(f"{block}.layer_norm_2", f"{BLOCK}/norm_after"),
        *layer_rules(f"{block}.mlp.dense1", f"{BLOCK}/expand", "linear"),
        *layer_rules(f"{block}.mlp.dwconv.dwconv", f"{BLOCK}/depthwise", "convolution"),
        *layer_rules(f"{block}.mlp.dense2", f"{BLOCK}/contract", "linear"),
    ]
    if max(encoder.reductions) > 1:
        entries += layer_rules(f"{block}.attention.self.sr", f"{BLOCK}/reduce", "convolution")
        entries += norm_rules(f"{block}.attention.self.layer_norm", f"{BLOCK}/reduce_norm")
    if "encoder" not in node:
        return entries
    return [
        *entries,
        *layer_rules("decode_head.linear_c.{i}.proj", "params/head/project{i}", "linear"),
        Rule("decode_head.linear_fuse.weight", "params/head/join/kernel", "convolution"),
        *norm_rules("decode_head.batch_norm", "params/head/norm"),
        Rule("decode_head.batch_norm.running_mean", "batch_stats/head/norm/mean"),
        Rule("decode_head.batch_norm.running_var", "batch_stats/head/norm/var"),
        Buffer("decode_head.batch_norm.num_batches_tracked", np.int64(0)),
        *layer_rules("decode_head.classifier", "params/head/logits", "convolution"),
    ]


def _check(node: ConfigDict, kind: type) -> None:
    if node.target != f"{kind.__module__}:{kind.__qualname__}":
        raise UserError(
            f"SegFormer needs {kind.__name__}; this model has {node.target.split(':')[1]}. Export only its encoder, or use another family."
        )
