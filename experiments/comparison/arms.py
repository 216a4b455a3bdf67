"""Arms of a comparison: each encoder from scratch, pretrained here by a method, or with public weights."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from aeseg import spec
from aeseg.importers import families
from aeseg.runs import configs
from aeseg.runs.example import decoder_channels
from aeseg.runs.run import has_head
from aeseg.spec import recipe
from aeseg.types import UserError

from .plan import Part

DEFAULT = "denoising spark quantised masked"
"""Default methods: autoencoders of a small convolutional network and of a small vision transformer."""

FURTHER = {"vit": ("masked", "small"), "resnet": ("spark", "resnet50"), "convnextv2": ("spark", "v1_small")}
"""{file of a public encoder: (method, size) that pretrains it further}."""

RATES = {"vit": 6e-4, "mit": 6e-4, "convnextv2": 1e-3}
"""{file of an encoder: learning rate of its first trial}; other encoders start with 2e-3."""


class Arm(NamedTuple):
    """One start of the segmentation.

    name, encoder, against   as in results.jsonl (see the package)
    method        "" (scratch), "longer", "public", or the method that pretrains here
    node          config of the encoder
    pretraining   config of the method that pretrains here, or {}
    public        path of public weights, or ""
    """

    name: str
    encoder: str
    against: str
    method: str
    node: ConfigDict
    pretraining: ConfigDict
    public: str = ""

    @property
    def slug(self) -> str:
        """Return the arm's name in paths."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.name.replace(", ", "-"))

    @property
    def rate(self) -> float:
        """Return the learning rate of the first trial."""
        return RATES.get(configs.file_of(self.node), 2e-3)

    @property
    def part(self) -> Part:
        """Return the arm's fields that the plan needs."""
        return Part(self.name, self.encoder, self.against, bool(self.pretraining), self.method == "longer", bool(self.public))


def chosen(methods: str, public: Sequence[str], statistics: dict[str, Any], channels: int) -> list[Arm]:
    """Return the arms of `methods` (words as in `pretrain --config=folder:<word>`) and of public weights, given by their paths.

    Each encoder also gets a scratch arm, and a scratch arm that also trains for the pretraining's seconds.  `statistics` are the mean and
    std of the images, for encoders without public weights.
    """
    arms: dict[str, list[Arm]] = {}
    known: dict[str, str] = {}
    for word in methods.split():
        method = configs.method_config(word)
        if has_head(method):
            raise UserError(f"Expected autoencoders; {word!r} is a head. Set --arms, for example --arms={DEFAULT!r}.")
        if "encoder" not in method:
            raise UserError(f"Expected autoencoders; {word!r} trains no encoder. Set --arms, for example --arms={DEFAULT!r}.")
        method.encoder.update({name: value for name, value in statistics.items() if name in method.encoder})
        if "channels" in method.get("decoder", {}):
            method.decoder.channels = decoder_channels(method, channels)
        node = bare(method.encoder)
        encoder = known.setdefault(spec.to_json(node), _unused(configs.file_of(node), known.values()))
        arms.setdefault(encoder, _scratch(encoder, node)).append(_arm(word.split(",")[0], encoder, node, method))
    for path in public:
        node = bare(_public(path, channels))
        name = os.path.splitext(os.path.basename(os.path.normpath(path)))[0]
        encoder = known.setdefault(spec.to_json(node) + path, _unused(name, known.values()))
        arms[encoder] = [*_scratch(encoder, node), _arm("public", encoder, node, ConfigDict(), path)]
        if further := FURTHER.get(configs.file_of(node)):
            method = recipe(configs.METHODS, *further)
            method.encoder = node
            if "channels" in method.get("decoder", {}):
                method.decoder.channels = decoder_channels(method, channels)
            arms[encoder].append(_arm(further[0], encoder, node, method, path))
    kept = [arm for some in arms.values() for arm in some if arm.method != "longer" or any(other.pretraining for other in some)]
    if not kept:
        raise UserError(f"Expected something to compare; --arms and --public are empty. Set --arms={DEFAULT!r}.")
    return kept


def bare(encoder: ConfigDict) -> ConfigDict:
    """Return the encoder's config for a segmenter: without a mask token."""
    node = encoder.copy_and_resolve_references()
    if "has_mask_token" in node:
        node.has_mask_token = False
    return node


def units(arms: Sequence[Arm]) -> list[int]:
    """Return the numbers that must divide the side of a window: patches, coarsest strides and masking units."""
    kinds = {configs.file_of(arm.node) for arm in arms}
    strides = {8 if kind == "convnet" else 32 for kind in kinds - {"vit"}}
    patches = {arm.node.patch for arm in arms if "patch" in arm.node and isinstance(arm.node.patch, int)}
    return sorted(strides | patches | {arm.pretraining.unit for arm in arms if "unit" in arm.pretraining})


def _scratch(encoder: str, node: ConfigDict) -> list[Arm]:
    name = f"scratch, {encoder}"
    return [Arm(name, encoder, "", "", node, ConfigDict()), Arm(f"longer scratch, {encoder}", encoder, name, "longer", node, ConfigDict())]


def _arm(method: str, encoder: str, node: ConfigDict, pretraining: ConfigDict, public: str = "") -> Arm:
    before = "public then " if public and pretraining else ""
    return Arm(f"{before}{method}, {encoder}", encoder, f"scratch, {encoder}", method, node, pretraining, public)


def _unused(name: str, used: Any) -> str:
    """Return the name, with a number if another encoder has it."""
    taken = set(used)
    return next(each for each in (name, *(f"{name} {number}" for number in range(2, 1000))) if each not in taken)


def _public(path: str, channels: int) -> ConfigDict:
    """Return the config of the encoder of public weights, with its mean and std for `channels`."""
    model = families.load(path)
    node = model.described if families.is_encoder(model.described) else model.described.encoder
    if {"mean", "std"} <= set(node) and not {len(node.mean), len(node.std)} <= {1, channels}:
        node.mean, node.std = ((sum(values) / len(values),) for values in (node.mean, node.std))
    return node
