"""timm's ResNets (torchvision's have the same names): the encoder, without the classifier."""

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
    """The encoder that a config.json names; its mean and std are those of the weights, where they are told."""
    described = resnet.recipe((config.get("architectures") or [config.get("architecture")])[0])
    told = config.get("pretrained_cfg", {})
    for name in ("mean", "std"):
        described[name] = tuple(map(float, told.get(name, described[name])))
    return described


def config_of(described: ConfigDict) -> dict[str, Any]:
    """The config.json of an encoder; UserError for one that timm has no name for."""
    shape = ("target", "widths", "depths", "stem", "bottleneck")
    for name in architectures:
        named = resnet.recipe(name)
        if all(_plain(described.get(field)) == _plain(named[field]) for field in shape):
            told = {"mean": list(described.mean), "std": list(described.std), "input_size": [3, 224, 224], "num_classes": 0}
            width = described.widths[-1] * (resnet.EXPANSION if described.bottleneck else 1)
            return {"architecture": name, "architectures": [name], "num_classes": 0, "num_features": width, "pretrained_cfg": told}
    raise UserError(
        f"timm's ResNets are {', '.join(architectures)}; this encoder is {described['target']} with depths {described.get('depths')} and "
        f"widths {described.get('widths')}. It cannot be written so."
    )


def rules(described: ConfigDict) -> list[Rule | Buffer]:
    """The tensors of a ResNet; the counters of batches that its norms keep are written as 0."""
    convolutions = 3 if described.bottleneck else 2
    theirs, ours = "layer{i}.{j}", "encoder/stage{i}/block{j}"
    found = [Rule("conv1.weight", "params/encoder/stem/kernel", "convolution"), *_norm("bn1", "encoder/stem_norm")]
    for place in range(1, convolutions + 1):
        found.append(Rule(f"{theirs}.conv{place}.weight", f"params/{ours}/convolution{place}/kernel", "convolution"))
        found += _norm(f"{theirs}.bn{place}", f"{ours}/norm{place}")
    shortcuts = [stage for stage in range(1, len(described.widths) + 1) if stage > 1 or _widens(described)]
    if shortcuts:
        found.append(Rule(f"{theirs}.downsample.0.weight", f"params/{ours}/shortcut/kernel", "convolution"))
        found += _norm(f"{theirs}.downsample.1", f"{ours}/shortcut_norm")
    norms = ["bn1", *(f"layer{stage}.0.downsample.1" for stage in shortcuts)]
    for stage, depth in enumerate(described.depths, start=1):
        norms += [f"layer{stage}.{block}.bn{place}" for block in range(depth) for place in range(1, convolutions + 1)]
    return [*found, *(Buffer(f"{name}.num_batches_tracked", np.zeros((), np.int64)) for name in norms)]


def _widens(described: ConfigDict) -> bool:
    """Whether the first stage has a shortcut of its own."""
    return described.widths[0] * (resnet.EXPANSION if described.bottleneck else 1) != described.stem


def _norm(theirs: str, ours: str) -> list[Rule]:
    return [Rule(f"{theirs}.{name}", path.replace("{}", ours)) for name, path in NORM.items()]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | list) else value
