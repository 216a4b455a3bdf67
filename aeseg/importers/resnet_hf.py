"""Hugging Face ResNet (microsoft/resnet-50 and others): the encoder, without a classifier."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from aeseg.importers.resnet import NORM
from aeseg.importers.rules import Buffer, Rule, check_fixed
from aeseg.models.encoders.resnet import EXPANSION, ResNet
from aeseg.spec import spec
from aeseg.types import UserError

architectures = ("ResNetModel", "ResNetForImageClassification", "ResNetBackbone")
prefix = "resnet."
ignored = ("classifier.*",)

FIXED = {"hidden_act": "relu", "downsample_in_first_stage": False, "downsample_in_bottleneck": False}
TARGET = "aeseg.models.encoders.resnet:ResNet"


def spec_of(config: Mapping[str, Any]) -> ConfigDict:
    """Return the encoder spec that a config.json describes."""
    check_fixed(config, FIXED, "aeseg's ResNet has")
    bottleneck = config.get("layer_type", "bottleneck") == "bottleneck"
    widths = tuple(config.get("hidden_sizes", (256, 512, 1024, 2048)))
    return spec(
        ResNet,
        widths=tuple(width // EXPANSION for width in widths) if bottleneck else widths,
        depths=tuple(config.get("depths", (3, 4, 6, 3))),
        stem=config.get("embedding_size", 64),
        bottleneck=bottleneck,
    )


def config_of(node: ConfigDict) -> dict[str, Any]:
    """Return the config.json of an encoder; UserError if it is no ResNet."""
    if node["target"] != TARGET:
        raise UserError(f"ResNetModel holds a ResNet encoder; got {node['target']}. Export it with the family of its encoder.")
    return {
        "architectures": ["ResNetModel"],
        "model_type": "resnet",
        "num_channels": 3,
        "embedding_size": node.stem,
        "hidden_sizes": [width * (EXPANSION if node.bottleneck else 1) for width in node.widths],
        "depths": list(node.depths),
        "layer_type": "bottleneck" if node.bottleneck else "basic",
        **FIXED,
    }


def rules(node: ConfigDict) -> list[Rule | Buffer]:
    """Return the rules for the tensors of ResNetModel, with names that begin with `resnet.`; batch counters are written as 0."""
    entries: list[Rule | Buffer] = _layer("embedder.embedder", "encoder/stem", "encoder/stem_norm")
    for number in range(1, len(node.widths) + 1):
        theirs, ours = f"encoder.stages.{number - 1}.layers.{{j}}", f"encoder/stage{number}/block{{j}}"
        for index in range(3 if node.bottleneck else 2):
            entries += _layer(
                f"{theirs}.layer.{index}", f"{ours}/convolution{index + 1}", f"{ours}/norm{index + 1}", node.depths[number - 1]
            )
        if number > 1 or node.widths[0] * (EXPANSION if node.bottleneck else 1) != node.stem:
            entries += _layer(
                theirs.replace("{j}", "0") + ".shortcut",
                ours.replace("{j}", "0") + "/shortcut",
                ours.replace("{j}", "0") + "/shortcut_norm",
            )
    return entries


def _layer(theirs: str, convolution: str, norm: str, depth: int = 1) -> list[Rule | Buffer]:
    """Return the rules for a convolution and the norm after it, of `depth` blocks `{j}`."""
    named = f"{prefix}{theirs}"
    norms = [Rule(f"{named}.normalization.{name}", path.replace("{}", norm)) for name, path in NORM.items()]
    blocks = range(depth) if "{j}" in theirs else [0]
    counters = [Buffer(f"{named.replace('{j}', str(block))}.normalization.num_batches_tracked", np.zeros((), np.int64)) for block in blocks]
    return [Rule(f"{named}.convolution.weight", f"params/{convolution}/kernel", "convolution"), *norms, *counters]
