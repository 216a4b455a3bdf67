"""Load and save models of other libraries by family.

A family is a file of this folder with

architectures     names in config.json
spec_of(config)   spec of our encoder or method
config_of(spec)   the inverse; UserError if the foreign model cannot represent the spec
rules(spec)       names and layouts of the tensors
ignored           optional: shell patterns of tensors that our model lacks, such as a classifier
prefix            optional: prefix of names in the larger model, such as "vit."
statistics        optional: mean and std for a folder without preprocessor_config.json, from the family's preprocessor in transformers
incoming(tensors) optional: the tensors of a file as the rules name them, if the file joins several in one or has one in parts
outgoing(tensors) optional: the inverse, for families that are written
"""

import operator
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

SIZES = {
    r"(num_channels|in_chans)": (1, 10_000),
    r"(.*_)?(hidden|embedding|intermediate|image|patch)_sizes?": (1, 2**20),
    r"(.*_)?(num_hidden_layers|num_attention_heads|depths)": (1, 10_000),
}
"""Least and largest value of sizes in a config.json, by a pattern of their names."""


class Model(NamedTuple):
    """A loaded model: the spec of an encoder or a method, its variables, the image size, and messages about the import."""

    described: ConfigDict
    variables: dict[str, Any]
    size: tuple[int, int]
    channels: int
    notes: tuple[str, ...]


def families() -> dict[str, ModuleType]:
    """Return {file name: module} of every family."""
    modules = {name: spec.module(PACKAGE, name) for name in spec.names(PACKAGE)}
    return {name: module for name, module in modules.items() if hasattr(module, "architectures")}


def is_encoder(node: ConfigDict) -> bool:
    """Return whether a spec describes an encoder; otherwise it describes a method."""
    return node["target"].startswith(ENCODERS)


def load(path: str) -> Model:
    """Load a directory or file of weights; UserError names an unknown architecture, or the tensors that do not fit."""
    config, tensors = files.read(path)
    family = _family(config, path)
    node, size, channels = _described(family, config, path)
    tensors = getattr(family, "incoming", dict)(tensors)
    prefix, ignored = getattr(family, "prefix", ""), getattr(family, "ignored", ())
    if not any(name.startswith(prefix) for name in tensors):
        tensors = {prefix + name: array for name, array in tensors.items()}  # saved without the larger model
    notes = [f"Left out {name} {array.shape}." for name, array in tensors.items() if tree.matches(name, ignored)]
    variables = from_foreign(family.rules(node), tensors, shapes(node, size, channels), ignored)
    notes += _copy_statistics(node, path, getattr(family, "statistics", {}))
    return Model(node, variables, size, channels, tuple(notes))


def save(directory: str, method: ConfigDict, variables: Mapping[str, Any]) -> list[str]:
    """Write a method as a Hugging Face directory, or only its encoder if no family represents the method; list what is left out."""
    family, node, config, refusals = _holder(method)
    kept = {"encoder"} if is_encoder(node) else {part for leaves in variables.values() for part in leaves}
    chosen = {name: {part: leaf for part, leaf in leaves.items() if part in kept} for name, leaves in variables.items()}
    left = {part: leaf for leaves in variables.values() for part, leaf in leaves.items() if part not in kept}
    notes = ["No family represents the whole method:", *refusals] if is_encoder(node) and "target" in method else []
    notes += [
        f"Left out: {part} ({tree.count(leaf):,} parameters); {config['architectures'][0]} has no such part." for part, leaf in left.items()
    ]
    lost = spec.differences(family.spec_of(config), node, "method.encoder" if is_encoder(node) else "method")
    notes += [f"Not stored in config.json: {line}" for line in lost if not re.search(r"\.(mean|std|dtype): ", line)]
    tensors = to_foreign(family.rules(node), {name: leaves for name, leaves in chosen.items() if leaves})
    tensors = getattr(family, "outgoing", dict)(tensors)
    encoder = node if is_encoder(node) else node.encoder
    files.write(directory, config, tensors, _preprocessor(encoder))
    return notes


def shapes(node: ConfigDict, size: tuple[int, int], channels: int) -> Any:
    """Return the shapes of the variables of a spec. Those of an encoder are below `encoder/`, as in a method."""
    module = spec.build(node)
    image = jnp.zeros((1, *size, channels))
    if is_encoder(node):
        variables = jax.eval_shape(lambda: dict(module.init(jax.random.key(0), image, train=False)))
        return {name: {"encoder": leaves} for name, leaves in variables.items()}
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
        f"{', '.join(readable)}. Use one of these, or add a family to aeseg/importers."
    )


def _holder(method: ConfigDict) -> tuple[ModuleType, ConfigDict, dict[str, Any], list[str]]:
    """Return (family, spec, config.json, refusals) of the first family that represents the method, or else its encoder."""
    refusals: list[str] = []
    methods = [method] if "target" in method else []
    for node in (*methods, method.encoder):
        for name, family in families().items():
            try:
                return family, node, family.config_of(node), refusals
            except UserError as error:
                refusals.append(f"  {name}: {error}")
    raise UserError("\n".join(["No family of aeseg/importers can represent this model or its encoder:", *refusals]))


def _described(family: ModuleType, config: Mapping[str, Any], path: str) -> tuple[ConfigDict, tuple[int, int], int]:
    """Return the spec, image size and channels that a config.json describes; UserError says which of its values cannot be."""
    file = os.path.join(path if os.path.isdir(path) else os.path.dirname(path), files.CONFIG)
    for name, value in config.items():
        low, high = next((limits for pattern, limits in SIZES.items() if re.fullmatch(pattern, name)), (0, 0))
        for number in (value if isinstance(value, list) else [value]) if high else ():
            if number is not None and (type(number) is not int or not low <= number <= high):
                wanted = f"must be whole numbers from {low} to {high:,}; got {ascii(value)[:60]}"
                raise UserError(f"{name} of {file} {wanted}. Download it again.")
    try:
        node, channels = family.spec_of(config), config.get("num_channels", config.get("in_chans")) or 3
        spec.build(node)
        return node, image_size(config), operator.index(channels)
    except KeyError as error:
        why = f"it lacks {error}"
    except (TypeError, ValueError, AttributeError, IndexError, ArithmeticError) as error:
        why = str(error)
    raise UserError(f"{file} does not describe a {_named(config)} ({why}). Download it again.")


def image_size(config: Mapping[str, Any]) -> tuple[int, int]:
    """Return the height and width of the images of a model; 224 if its config does not name them."""
    size = config.get("image_size", 224)
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _named(config: Mapping[str, Any]) -> str:
    """Return the architecture that a config names, in the format of transformers or timm."""
    return (config.get("architectures") or [config.get("architecture", "")])[0]


def _copy_statistics(node: ConfigDict, path: str, default: Mapping[str, Any]) -> list[str]:
    """Set the encoder's mean and std from preprocessor_config.json, or to the family's; return a message, or [] if there are none."""
    preprocessor = os.path.join(path if os.path.isdir(path) else os.path.dirname(path), files.PREPROCESSOR)
    encoder = node if is_encoder(node) else node.encoder
    if not {"mean", "std"} <= set(encoder) or not (os.path.exists(preprocessor) or default):
        return []
    if not os.path.exists(preprocessor):
        encoder.update(default)
        return [f"There is no {files.PREPROCESSOR}: images are standardised with the family's mean {encoder.mean} and std {encoder.std}."]
    fields = files.read_json(preprocessor, "")
    if fields.get("do_normalize", True) and {"image_mean", "image_std"} & fields.keys():
        encoder.mean, encoder.std = (_channels(fields.get(name), name, preprocessor) for name in ("image_mean", "image_std"))
    return [f"Images are standardised with mean {encoder.mean} and std {encoder.std}."]


def _channels(value: Any, name: str, path: str) -> tuple[float, ...]:
    """Return a mean or std of an image's channels; UserError unless it is one number or three, finite, and a std above 0."""
    try:
        numbers = tuple(map(float, np.ravel(value)))
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) not in (1, 3) or not np.isfinite(numbers).all() or (name == "image_std" and min(numbers) <= 0):
        kind = "numbers above 0" if name == "image_std" else "numbers"
        raise UserError(f"{name} of {path} must be 1 or 3 {kind}; got {ascii(value)[:60]}. Correct the file.")
    return numbers


def _preprocessor(encoder: ConfigDict) -> dict[str, Any]:
    """Return preprocessor_config.json: how to prepare an image with values 0..255 for the exported model."""
    if not {"mean", "std"} <= set(encoder):
        return {}
    mean, std = list(encoder.mean), list(encoder.std)
    return {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": mean, "image_std": std}
