"""Which file of this folder reads a foreign model, and the model whole: description, variables, and what was done on the way.

A family is a file that has `architectures` (the names in config.json), `spec_of(config)` (our encoder or method), its inverse
`config_of(spec)` (UserError for a spec it has no place for) and `rules(spec)`.  It may have `ignored` (shell patterns of tensors
that our model does without: a classifier), and `prefix` (what stands before names in the larger model: "vit.").
"""

import os
import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from aeseg import spec, tree
from aeseg.importers import files
from aeseg.importers.rules import from_foreign, to_foreign
from aeseg.types import UserError

PACKAGE = "aeseg.importers"
ENCODERS = "aeseg.models.encoders."


class Model(NamedTuple):
    """A foreign model as ours: an encoder's spec or a method's, variables below `encoder/`, the image size, and a line for each step."""

    described: ConfigDict
    variables: dict[str, Any]
    size: tuple[int, int]
    channels: int
    notes: tuple[str, ...]


def families() -> dict[str, ModuleType]:
    """{file name: module} of every family."""
    found = {name: spec.module(PACKAGE, name) for name in spec.names(PACKAGE)}
    return {name: module for name, module in found.items() if hasattr(module, "architectures")}


def is_encoder(described: ConfigDict) -> bool:
    """Whether a spec is of an encoder alone; otherwise it is of a method."""
    return described["target"].startswith(ENCODERS)


def load(path: str) -> Model:
    """The model of a directory (or file) of weights; UserError names an unknown architecture, and tensors that do not fit."""
    config, tensors = files.read(path)
    family = _family(config, path)
    described = family.spec_of(config)
    size, channels = image_size(config), config.get("num_channels", config.get("in_chans", 3))
    prefix, ignored = getattr(family, "prefix", ""), getattr(family, "ignored", ())
    if not any(name.startswith(prefix) for name in tensors):
        tensors = {prefix + name: array for name, array in tensors.items()}  # saved without the larger model around it
    notes = [f"Left out {name} {array.shape}." for name, array in tensors.items() if tree.matches(name, ignored)]
    variables = from_foreign(family.rules(described), tensors, shapes(described, size, channels), ignored)
    notes += _standardise_alike(described, path)
    return Model(described, variables, size, channels, tuple(notes))


def save(directory: str, method: ConfigDict, variables: Mapping[str, Any]) -> list[str]:
    """Write a method, or its encoder where no family holds it whole, as a directory of Hugging Face; a line for each thing left out."""
    family, described, config, refusals = _holder(method)
    kept = {"encoder"} if is_encoder(described) else {part for leaves in variables.values() for part in leaves}
    chosen = {name: {part: leaf for part, leaf in leaves.items() if part in kept} for name, leaves in variables.items()}
    left = {part: leaf for leaves in variables.values() for part, leaf in leaves.items() if part not in kept}
    notes = ["No family holds the method whole:", *refusals] if is_encoder(described) and "target" in method else []
    notes += [
        f"Left out: {part} ({tree.count(leaf):,} numbers), for which {config['architectures'][0]} has no place."
        for part, leaf in left.items()
    ]
    lost = spec.differences(family.spec_of(config), described, "method.encoder" if is_encoder(described) else "method")
    notes += [f"Not said by config.json: {line}" for line in lost if not re.search(r"\.(mean|std|dtype): ", line)]
    tensors = to_foreign(family.rules(described), {name: leaves for name, leaves in chosen.items() if leaves})
    encoder = described if is_encoder(described) else described.encoder
    files.write(directory, config, tensors, _preprocessor(encoder))
    return notes


def shapes(described: ConfigDict, size: tuple[int, int], channels: int) -> Any:
    """The variables that a spec makes, as shapes; those of an encoder stand below `encoder/`, as they do in a method."""
    module = spec.build(described)
    image = jnp.zeros((1, *size, channels))
    if is_encoder(described):
        found = jax.eval_shape(lambda: dict(module.init(jax.random.key(0), image, train=False)))
        return {name: {"encoder": leaves} for name, leaves in found.items()}
    row = {"image": image, "label": jnp.zeros((1, *size), jnp.int32), "valid": jnp.ones((1,), bool), "index": jnp.zeros((1,), jnp.int32)}
    return jax.eval_shape(lambda: dict(module.init(jax.random.key(0), row, train=False)))


def _family(config: Mapping[str, Any], path: str) -> ModuleType:
    named, known = _named(config), families()
    for family in known.values():
        if named in family.architectures:
            return family
    readable = sorted(name for family in known.values() for name in family.architectures)
    raise UserError(
        f"{os.path.join(path, files.CONFIG)} names the architecture {named!r} (model_type {config.get('model_type')!r}); aeseg reads "
        f"{', '.join(readable)}. Name one of these, or add its file to aeseg/importers."
    )


def _holder(method: ConfigDict) -> tuple[ModuleType, ConfigDict, dict[str, Any], list[str]]:
    """(the family, the spec it holds, their config) of the method, or else of its encoder; and the refusals until then."""
    refusals: list[str] = []
    whole = [method] if "target" in method else []
    for described in (*whole, method.encoder):
        for name, family in families().items():
            try:
                return family, described, family.config_of(described), refusals
            except UserError as error:
                refusals.append(f"  {name}: {error}")
    raise UserError("\n".join(["No family of aeseg/importers has a place for this model or its encoder:", *refusals]))


def image_size(config: Mapping[str, Any]) -> tuple[int, int]:
    """The height and width of the images that a model was made for; 224 where it does not say."""
    size = config.get("image_size", 224)
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _named(config: Mapping[str, Any]) -> str:
    """The architecture that a config names: transformers' way, or timm's."""
    return (config.get("architectures") or [config.get("architecture", "")])[0]


def _standardise_alike(described: ConfigDict, path: str) -> list[str]:
    """Give the encoder the mean and standard deviation that preprocessor_config.json names; a line that says so."""
    place = os.path.join(path if os.path.isdir(path) else os.path.dirname(path), files.PREPROCESSOR)
    encoder = described if is_encoder(described) else described.encoder
    if not os.path.exists(place) or not {"mean", "std"} <= set(encoder):
        return []
    found = files.read_json(place, "")
    if found.get("do_normalize", True) and {"image_mean", "image_std"} <= found.keys():
        encoder.mean, encoder.std = (tuple(map(float, np.ravel(found[name]))) for name in ("image_mean", "image_std"))
    return [f"Images are standardised with mean {encoder.mean} and std {encoder.std}."]


def _preprocessor(encoder: ConfigDict) -> dict[str, Any]:
    """What must happen to an image of values 0..255 before the exported model sees it."""
    if not {"mean", "std"} <= set(encoder):
        return {}
    mean, std = list(encoder.mean), list(encoder.std)
    return {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": mean, "image_std": std}
