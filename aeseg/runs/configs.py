"""Configs of runs: `spec(Run, ...)`, with dependent fields tied by reference.

A config file passes only the fields that it sets.  Numbers from which other fields are computed are `FieldReference`s:

    steps = number(1500)
    run_config(..., steps=steps, optimiser=warm_adamw(2e-3, steps))
"""

from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict, FieldReference

from aeseg import spec
from aeseg.methods.segmenter import Segmenter
from aeseg.models import neck as necks
from aeseg.runs.data import SPLITS, Data
from aeseg.runs.run import Run, has_head, is_segmenter
from aeseg.spec import names, recipe
from aeseg.training.optimiser import adamw
from aeseg.types import UserError

METHODS, ENCODERS, HEADS = "aeseg.methods", "aeseg.models.encoders", "aeseg.models.heads"


def number(value: int | float) -> FieldReference:
    """Return a number from which other fields can be computed; setting its field updates them all."""
    return FieldReference(value)


def run_config(method: ConfigDict, data: ConfigDict, **fields: Any) -> ConfigDict:
    """Return the config of a run whose parts follow its `dtype`, whose head follows the method's `classes`, with the method's metric."""
    metric = "mean_iou" if has_head(method) else "loss"
    method = method.copy_and_resolve_references()  # it may be part of another config and follow its references
    config = spec.spec(Run, method=method, data=data, **{"best": metric, **fields})
    spec.follow(config.method, "dtype", config.get_ref("dtype"))
    if is_segmenter(config):
        config.method.head.classes = config.method.get_ref("classes")
    return config


def data_config(splits: Mapping[str, ConfigDict], **fields: Any) -> ConfigDict:
    """Return the config of `Data` for described splits; `source` holds their common fields once."""
    described = {split: spec.plain(splits[split]) for split in SPLITS}
    first = described["train"]
    apart = {each["target"] for each in described.values()} != {first["target"]}
    shared = {} if apart else {name: value for name, value in first.items() if all(each[name] == value for each in described.values())}
    own = {split: {name: value for name, value in each.items() if name not in shared} for split, each in described.items()}
    return spec.spec(Data, **spec.from_json(spec.to_json(ConfigDict({"source": shared, **own}))), **fields)


def warm_adamw(learning_rate: float, steps: Any, **fields: Any) -> ConfigDict:
    """Return the AdamW of most configs: warm-up over a twentieth of the steps, weight decay 0.05, gradients clipped to norm 1."""
    return spec.spec(
        adamw, learning_rate=learning_rate, steps=steps, **{"warmup": steps // 20, "weight_decay": 0.05, "clip": 1.0, **fields}
    )


def method_config(argument: str, classes: int = 2, encoder: ConfigDict | None = None) -> ConfigDict:
    """Return the method that words separated by commas name: files of aeseg/methods, encoders and heads, and sizes.

    `denoising`            pretrains; the method's own recipe, with `encoder` if given
    `denoising,tiny`       ... of that size
    `spark,resnet`         ... with another encoder that the method takes (`spark,resnet,tiny`: of that size)
    `unet`                 segments with that head and `encoder` (default `convnet`)
    `upernet,vit`          ... and that encoder; an encoder of one stride gets a neck
    """
    name, *words = argument.split(",")
    kind = words.pop(0) if words and words[0] in names(ENCODERS) else ""
    size = words.pop(0) if words else "small"
    if words:
        raise UserError(f"Expected a part, an encoder and a size between commas; got {argument!r}. Write unet,vit or denoising,tiny.")
    if kind:
        encoder = recipe(ENCODERS, kind, size)
    if name in names(HEADS):
        return segmenter_config(
            recipe(HEADS, name, "tiny" if size == "tiny" else "small"), encoder or recipe(ENCODERS, "convnet", size), classes
        )
    if name == "segmenter":
        raise UserError(f"A segmenter is named by its head: {', '.join(names(HEADS))}. Write such as unet or upernet,vit.")
    if name not in names(METHODS):
        known = [*autoencoders(), *names(HEADS)]
        raise UserError(f"Expected an autoencoder or a head, {', '.join(known)}; got {name!r}{spec.suggestion(name, known)}.")
    method = recipe(METHODS, name, "small" if kind else size)
    if kind and "encoder" not in method:
        raise UserError(f"{name} takes its encoder from --init; got {argument!r}. Write {name}.")
    if has_head(method):
        method.classes = classes
    if encoder is not None and (kind or _takes(method, encoder)):
        if method.get("encoder", {}).get("has_mask_token"):
            encoder.has_mask_token = True
        method.encoder = encoder
    return method


def segmenter_config(
    head: ConfigDict, encoder: ConfigDict, classes: int, method: Callable[..., Any] | None = None, **fields: Any
) -> ConfigDict:
    """Return a segmenter; an encoder with features of one stride (a vision transformer) gets a neck for the other strides."""
    if "patch" in encoder and "neck" not in fields:
        fields["neck"] = (necks.unet(encoder.patch, encoder.width),)
    return spec.spec(method or Segmenter, encoder=encoder, head=head, classes=classes, **fields)


def autoencoders() -> list[str]:
    """Return the file names of the methods that pretrain; the others are segmenters."""
    return [name for name in names(METHODS) if "head" not in recipe(METHODS, name)]


def encoder_of(method: ConfigDict) -> ConfigDict:
    """Return the encoder of a method's config; of a prior over codes, the encoder of its autoencoder."""
    return method.encoder if "encoder" in method else method.autoencoder.encoder


def file_of(part: ConfigDict) -> str:
    """Return the file name of a described part: `vit` for the encoder in aeseg/models/encoders/vit.py."""
    return part.target.partition(":")[0].rpartition(".")[2]


def follow_window(config: ConfigDict, before: tuple[int, int]) -> None:
    """Resize the crops and resizes of size `before` to the config's window."""
    for transforms in (config.data.transforms, config.data.evaluation_transforms):
        for transform in transforms if isinstance(transforms, tuple | list) else ():
            if isinstance(transform, ConfigDict) and (transform.get("height"), transform.get("width")) == before:
                transform.height, transform.width = config.window


def _takes(method: ConfigDict, encoder: ConfigDict) -> bool:
    """Return whether a default encoder replaces the method's own encoder: only if both are of the same kind."""
    return "encoder" in method and method.encoder.target == encoder.target
