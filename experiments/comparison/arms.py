"""The arms of a comparison: each encoder from scratch, pretrained here by a method, and with public weights."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from aeseg import spec
from aeseg.importers import families
from aeseg.runs import configs
from aeseg.runs.example import decoder_channels
from aeseg.spec import recipe
from aeseg.types import UserError

from .plan import Part

DEFAULT = "denoising spark quantised masked"
"""Autoencoders of a small convolutional network, and of a small vision transformer."""

FURTHER = {"vit": ("masked", "small"), "resnet": ("spark", "resnet50"), "convnextv2": ("spark", "v1_small")}
"""(method, size) that pretrains a public encoder further, by the encoder's file."""

RATES = {"vit": 6e-4, "mit": 6e-4, "convnextv2": 1e-3}
"""The learning rate that an encoder's trials begin with; others have 2e-3."""


class Arm(NamedTuple):
    """One way to begin the segmentation.

    name, encoder, against   see the package
    method    "" (scratch), "longer", "public", or the method that pretrains here
    node      the encoder's description
    pretraining   the description of the method that pretrains; {} if none does
    public    public weights; "" if none
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
        """The name in paths."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.name.replace(", ", "-"))

    @property
    def rate(self) -> float:
        """The learning rate that the trials begin with."""
        return RATES.get(configs.file_of(self.node), 2e-3)

    @property
    def part(self) -> Part:
        """The arm as the plan sees it."""
        return Part(self.name, self.encoder, self.against, bool(self.pretraining), self.method == "longer")


def chosen(methods: str, public: Sequence[str], statistics: dict[str, Any], channels: int) -> list[Arm]:
    """Return the arms that `methods` (words as `pretrain --config=folder:<word>` has them) and paths of public weights make.

    Each encoder comes with its scratch, and scratch with its pretrainings' seconds as further steps.  `statistics` are the images' mean
    and std, for encoders that are not public.
    """
    arms: dict[str, list[Arm]] = {}
    known: dict[str, str] = {}
    for word in methods.split():
        method = configs.method_config(word)
        if "head" in method:
            raise UserError(f"Expected autoencoders; {word!r} is a head. Set --arms, for example --arms={DEFAULT!r}.")
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
    found = [arm for some in arms.values() for arm in some if arm.method != "longer" or any(other.pretraining for other in some)]
    if not found:
        raise UserError(f"Expected something to compare; --arms and --public are empty. Set --arms={DEFAULT!r}.")
    return found


def bare(encoder: ConfigDict) -> ConfigDict:
    """Return an encoder's description as a segmenter has it: without a token for hidden patches."""
    node = encoder.copy_and_resolve_references()
    if "has_mask_token" in node:
        node.has_mask_token = False
    return node


def units(arms: Sequence[Arm]) -> list[int]:
    """Return the numbers that must divide the sides of a window: patches, coarsest strides, units of hidden patches."""
    kinds = {configs.file_of(arm.node) for arm in arms}
    found = {8 if kind == "convnet" else 32 for kind in kinds - {"vit"}}
    found |= {arm.node.patch for arm in arms if "patch" in arm.node and isinstance(arm.node.patch, int)}
    return sorted(found | {arm.pretraining.unit for arm in arms if "unit" in arm.pretraining})


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
    """Return the description of the encoder of public weights, with its own mean and std."""
    model = families.load(path)
    node = model.described if families.is_encoder(model.described) else model.described.encoder
    if {"mean", "std"} <= set(node) and not {len(node.mean), len(node.std)} <= {1, channels}:
        node.mean, node.std = ((sum(values) / len(values),) for values in (node.mean, node.std))
    return node
