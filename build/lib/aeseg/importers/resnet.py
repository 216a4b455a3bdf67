"""ResNets of timm and torchvision, which use the same names: the encoder, without the classifier."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from aeseg.importers.rules import Buffer, Rule
from aeseg.models.encoders import resnet
from aeseg.types import UserError

architectures = ("resnet18", "resnet34", "resnet50", "resnet101")
ignored = ("fc.*",)

NORM = {
    "weight": "params/{}/scale",
    "bias": "params/{}/bias",
    "running_mean": "batch_stats/{}/mean",
    "running_var": "batch_stats/{}/var",
}


def spec_of(config: Mapping[str, Any]) -> ConfigDict:
    """Return the encoder spec that a config.json names, with the mean and std of the weights if the config has them."""
    node = resnet.recipe((config.get("architectures") or [config.get("architecture")])[0])
    pretrained = config.get("pretrained_cfg", {})
    for name in ("mean", "std"):
        node[name] = tuple(map(float, pretrained.get(name, node[name])))
    return node


def config_of(node: ConfigDict) -> dict[str, Any]:
    """Return the config.json of an encoder; UserError if timm has no name for it."""
    shape = ("target", "widths", "depths", "stem", "bottleneck")
    for name in architectures:
        named = resnet.recipe(name)
        if all(_plain(node.get(field)) == _plain(named[field]) for field in shape):
            pretrained = {"mean": list(node.mean), "std": list(node.std), "input_size": [3, 224, 224], "num_classes": 0}
            width = node.widths[-1] * (resnet.EXPANSION if node.bottleneck else 1)
            fields = {"num_classes": 0, "num_features": width, "pretrained_cfg": pretrained}
            return {"architecture": name, "architectures": [name], **fields}
    raise UserError(
        f"timm's ResNets are {', '.join(architectures)}; this encoder is {node['target']} with depths {node.get('depths')} and "
        f"widths {node.get('widths')}. Use one of the recipes of these names."
    )


def rules(node: ConfigDict) -> list[Rule | Buffer]:
    """Return the rules for the tensors of a ResNet. The batch counters of its norms are written as 0."""
    convolutions = 3 if node.bottleneck else 2
    theirs, ours = "layer{i}.{j}", "encoder/stage{i}/block{j}"
    entries = [Rule("conv1.weight", "params/encoder/stem/kernel", "convolution"), *_norm("bn1", "encoder/stem_norm")]
    for number in range(1, convolutions + 1):
        entries.append(Rule(f"{theirs}.conv{number}.weight", f"params/{ours}/convolution{number}/kernel", "convolution"))
        entries += _norm(f"{theirs}.bn{number}", f"{ours}/norm{number}")
    shortcuts = [stage for stage in range(1, len(node.widths) + 1) if stage > 1 or _widens(node)]
    if shortcuts:
        entries.append(Rule(f"{theirs}.downsample.0.weight", f"params/{ours}/shortcut/kernel", "convolution"))
        entries += _norm(f"{theirs}.downsample.1", f"{ours}/shortcut_norm")
    norms = ["bn1", *(f"layer{stage}.0.downsample.1" for stage in shortcuts)]
    for stage, depth in enumerate(node.depths, start=1):
        norms += [f"layer{stage}.{block}.bn{number}" for block in range(depth) for number in range(1, convolutions + 1)]
    return [*entries, *(Buffer(f"{name}.num_batches_tracked", np.zeros((), np.int64)) for name in norms)]


def _widens(node: ConfigDict) -> bool:
    """Return whether the first stage has a projection shortcut."""
    return node.widths[0] * (resnet.EXPANSION if node.bottleneck else 1) != node.stem


def _norm(theirs: str, ours: str) -> list[Rule]:
    return [Rule(f"{theirs}.{name}", path.replace("{}", ours)) for name, path in NORM.items()]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | list) else value
