"""A run's config on the reader's own images, as `inspect` described them."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from aeseg import spec
from aeseg.data.statistics import channel_statistics
from aeseg.runs.run import SPLITS, is_segmenter, split_config

SAMPLE = 200
"""Images whose pixels give the mean and standard deviation of each channel."""


def use_data(config: ConfigDict, description: Mapping[str, Any], statistics: Mapping[str, tuple[float, ...]] | None = None) -> None:
    """Put a data description into a config: source and splits, classes, channels, and the images' mean and std by channel.

    A config that pretrains reads the images alone.  `statistics` are mean and std, if they are known.
    """
    source = {**description["source"], **({} if is_segmenter(config) else {"labels": ""})}
    described = {"source": source, **{split: description[split] for split in SPLITS}}
    with config.unlocked():
        for name, fields in described.items():
            config.data[name] = spec.from_json(spec.to_json(ConfigDict(fields)))
    train = spec.build(split_config(described, "train"))
    if is_segmenter(config):
        config.method.classes = len(train.classes)
    encoder = config.method.encoder
    if {"mean", "std"} <= set(encoder):
        encoder.update(statistics or statistics_of(train))
    decoder = config.method.get("decoder", {})
    if "channels" in decoder and "channels" in source:
        decoder.channels = source["channels"]


def statistics_of(source: Any) -> dict[str, tuple[float, ...]]:
    """Return the mean and std of each channel of a source's images, as fields of an encoder."""
    mean, std = (tuple(round(value, 4) for value in values) for values in channel_statistics(source, SAMPLE)[:2])
    return {"mean": mean, "std": std}
