"""Example input and image channels of a config's network, without building the network or reading data."""

from typing import Any

import numpy as np

from aeseg import spec
from aeseg.data import narration
from aeseg.data.planes import stacked
from aeseg.runs.data import split_config


def config_example(config: Any) -> dict[str, Any]:
    """Return one record of zeros, of the window's size, with all entries that a method may read.

    Captions and sounds are as long as those of the data, or else of scenes, so that estimates of FLOPs and memory count their tokens.
    """
    h, w = config.window
    source = split_config(spec.plain(config.data), "train")
    samples = round(source.get("audio_seconds", 1) * narration.RATE)
    row = {"image": np.zeros((1, h, w, image_channels(config)), np.uint8), "label": np.zeros((1, h, w), np.int32)}
    modalities = spec.build(config.method.get("modalities", ()))
    further = {each.key: each.example(h, w) for each in modalities if hasattr(each, "example")}
    channels = further["sound"].shape[2:] if "audio_seconds" in source and "sound" in further else (2,)
    beside: dict[str, np.ndarray] = {
        "caption": np.zeros((1, source.get("caption_bytes", narration.CAPTION)), np.uint8),
        "sound": np.zeros((1, samples, *channels), np.float32),
    }
    as_long = {key: zeros for key, zeros in beside.items() if key in further and zeros.shape[2:] == further[key].shape[2:]}
    return {**row, "depth": np.zeros((1, h, w), np.float32), **beside, **further, **as_long}


def image_channels(config: Any) -> int:
    """Return the image channels that a config's network reads, from its decoder or else from its training data.

    Each `Stack` adds its channels to the images of the data.
    """
    given = config.method.get("decoder", {}).get("channels", 0)
    if given:
        return next(channels for channels in range(1, given + 1) if decoder_channels(config.method, channels) >= given)
    further = stacked(spec.build(config.data.get("evaluation_transforms", ())))
    return int(split_config(spec.plain(config.data), "train").get("channels", 3)) + sum(further.values())


def decoder_channels(method: Any, channels: int) -> int:
    """Return the channels that a method's decoder must return for images of `channels` channels; its likelihood may need several each."""
    return int(spec.build(method.likelihood).numbers(channels)) if "likelihood" in method else channels
