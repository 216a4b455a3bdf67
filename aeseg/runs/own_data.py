"""Configs on your own images, as `inspect` described them."""

import dataclasses
import inspect
import os
from collections.abc import Collection, Mapping
from typing import Any

from ml_collections import ConfigDict

from aeseg import spec
from aeseg.data import wrappers
from aeseg.data.statistics import channel_statistics
from aeseg.runs import own_modalities
from aeseg.runs.data import SPLITS, Data, split_config
from aeseg.runs.example import decoder_channels
from aeseg.runs.run import is_segmenter
from aeseg.runs.workdir import Trained
from aeseg.types import UserError

SAMPLE = 200
"""Images whose pixels give the mean and standard deviation of each channel."""

LEAST = 1e-3
"""Smallest standard deviation, since a channel may be constant."""


def use_data(config: ConfigDict, description: Mapping[str, Any]) -> None:
    """Set a config's data from a description: source and splits, classes, channels, and the images' mean and std per channel.

    A config that pretrains reads only images, including unlabelled images, apart from validation and test images.  A network that reads
    no captions and sounds leaves them out.
    """
    described = description if is_segmenter(config) else images_alone(description)
    if not own_modalities.reads_senses(config.method):
        unread = {name: "" for name in ("captions", "audio") if name in described["source"]}
        described = {**described, "source": {**described["source"], **unread}}
    with config.unlocked():
        for name in Data.DESCRIPTIONS:
            config.data[name] = spec.from_json(spec.to_json(ConfigDict(described[name])))
    follow_images(config)


def use_source(config: ConfigDict, words: str) -> None:
    """Set a config's data to a source of aeseg/data/sources, `<file>[,<size>]`: its recipe, with `split` for each split.

    A config that pretrains reads only images, if the source has `images_only`. `complete` does the rest, after the command line.
    """
    file, _, size = words.partition(",")
    source = spec.recipe("aeseg.data.sources", file, size or "small")
    fields = inspect.signature(spec.resolve(source.target)).parameters
    if "split" not in fields:
        raise UserError(f"--data names sources with a field `split`; {file} has none, so its splits would share images. Add the field.")
    if "images_only" in fields:
        source.images_only = not is_segmenter(config)
    with config.unlocked():
        config.data.source = source
        for split in SPLITS:
            config.data[split] = ConfigDict({"split": split})


def complete(config: ConfigDict, overrides: Collection[str]) -> None:
    """Set what depends on the images, once the command line is read; if their folder is missing, the source reports it when it is built."""
    if os.path.isdir(config.data.source.get("root", ".")):
        follow_images(config, overrides)


def images_alone(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return a data description without labels: the training images, also unlabelled ones, apart from validation and test images."""
    source, own = {**description["source"], "images_only": True}, {split: dict(description[split]) for split in SPLITS}
    if source.get("only_labelled") and all(set(fields) == {"list_file"} for fields in own.values()):
        own["train"] = {"apart_from": (own["validation"]["list_file"], own["test"]["list_file"])}
    return {"source": source, **own}


def elsewhere(trained: Trained, root: str = "", description: Mapping[str, Any] | None = None) -> Trained:
    """Return a trained network that reads its images below another `root`, or from another description."""
    data = trained.run.data
    if root and description:
        raise UserError("root says where the run's own images lie now, data names other ones. Leave one of them out.")
    if root and "root" not in data.source:
        raise UserError("Only a run of images in a folder has a root; this run's data has none. Leave it out, or name other data.")
    if root:
        data = dataclasses.replace(data, source={**data.source, "root": root})
    if description:
        data = dataclasses.replace(
            data, **{name: spec.from_json(spec.to_json(ConfigDict(description[name]))) for name in Data.DESCRIPTIONS}
        )
    return trained._replace(run=dataclasses.replace(trained.run, data=data))


def follow_images(config: ConfigDict, overrides: Collection[str] = ()) -> None:
    """Set classes, channels, depth, mean, std and modalities of a config from its training images, except fields in `overrides`."""
    train = spec.build(split_config(spec.plain(config.data), "train"))
    if is_segmenter(config) and "method.classes" not in overrides:
        config.method.classes = len(train.classes)
    encoder, decoder = config.method.get("encoder", {}), config.method.get("decoder", {})
    if {"mean", "std"} <= set(encoder) and not {"method.encoder.mean", "method.encoder.std"} & set(overrides):
        encoder.update(statistics_of(wrappers.Tolerant(train) if config.data.on_error == "skip" else train))
    if hasattr(train, "reading") and {"bits", "value_range"} <= set(config.data.source):
        for name in {"bits", "value_range"} - {field.removeprefix("data.source.") for field in overrides}:
            config.data.source[name] = getattr(train.reading, name)  # stated once, also for images elsewhere
    own_modalities.follow(config, train)
    if "channels" in decoder and hasattr(train, "channels") and "method.decoder.channels" not in overrides:
        decoder.channels = decoder_channels(config.method, train.channels)


def statistics_of(source: Any) -> dict[str, tuple[float, ...]]:
    """Return the mean and std of each channel of a source's images, as fields of an encoder."""
    measured = channel_statistics(source, SAMPLE)
    mean = tuple(round(value, 4) for value in measured.mean)
    return {"mean": mean, "std": tuple(round(max(value, LEAST), 4) for value in measured.std)}
