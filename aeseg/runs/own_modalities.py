"""Modalities of a method on your own images: the image, and the aligned planes, captions and sounds that the folder names."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from aeseg.data.planes import DropModalities, Stack
from aeseg.data.statistics import planes_statistics
from aeseg.data.transforms import HorizontalFlip, VerticalFlip
from aeseg.models.modalities import audio
from aeseg.models.modalities.planes import Planes
from aeseg.models.modalities.text import Text
from aeseg.spec import spec
from aeseg.types import UserError

SAMPLE = 200
"""Records whose planes give their mean and standard deviation."""

LEAST = 1e-3
"""Smallest standard deviation, since planes may be constant."""

SEEN = 1 / 6
"""Fraction of the tokens that a pretraining's encoder sees (Bachmann et al. 2022, section 4.1: 98 of 588)."""

FRAMES = 10
"""Most frames of 10 ms in a patch of a spectrogram."""


def follow(config: ConfigDict, train: Any) -> None:
    """Give a method of several modalities those of its training records, with standardised planes; other methods stay as they are.

    A pretraining sees a sixth of the tokens.  A `Fusion` of several aligned modalities trains with `DropModalities`.  Networks of captions
    or sounds, which name positions, train without mirrored images.  A method without tokens (`Vote`) gets the planes alone.  A config of
    one image that trains with `DropModalities` gets the planes as channels of the image (`Stack`).
    """
    planes, method = getattr(train, "planes", {}), config.method
    by_patch = "modalities" in method and "patch" in method.get("encoder", {})
    senses = getattr(train, "senses", {})
    if senses and not by_patch:
        _check_unread(config, senses)
    drop = spec(DropModalities, keys=("image", *planes))
    if planes and "modalities" not in method and any(each.target == drop.target for each in config.data.transforms):
        _stack(config, train, drop)
        return
    senses = senses if by_patch else {}
    if not (planes or senses) or "modalities" not in method:
        return
    image, *_ = method.modalities
    middle, spread = (0.0, 1.0) if by_patch else _one_for_all_channels(method.encoder)
    if by_patch:
        for each in (image, *method.get("extra", ())):
            each.update(patch=method.encoder.patch, mean=method.encoder.mean, std=method.encoder.std)
    further = []
    for key, channels in planes.items():
        mean, std = planes_statistics(train, key, SAMPLE)
        scale = max(std, LEAST) / spread  # a network that all modalities share the form of standardises by `middle` and `spread`, too
        fields = {"mean": round(mean - middle * scale, 4), "std": round(scale, 4)}
        further.append(spec(Planes, key=key, patch=image.patch, channels=channels, **fields))
    words, tokens = _of_senses(senses)
    with config.unlocked():
        method.modalities = (image, *further, *words)
        if "visible" in method:
            height, width = config.window
            method.visible = max(1, round(SEEN * ((1 + len(planes)) * (height // image.patch) * (width // image.patch) + tokens)))
        if senses:
            config.data.transforms = _apart_from(config.data.transforms, HorizontalFlip, VerticalFlip)
        if planes and method.target.endswith(":Fusion"):
            drop.keys = ("image", *planes, *senses)
            config.data.transforms = (*_apart_from(config.data.transforms, DropModalities), drop)


def _stack(config: ConfigDict, train: Any, drop: ConfigDict) -> None:
    """Append the planes to the channels of the images that a config trains and scores; uint8 planes stay as they are.

    Of other planes, three standard deviations around the mean become the image's range, and values outside are clipped.
    """
    stacks = []
    for key, channels in train.planes.items():
        dtype, (low, high) = train[0][key].dtype, (0.0, 255.0)
        if dtype != np.uint8:
            mean, std = planes_statistics(train, key, SAMPLE)
            unit = float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0
            low, high = (round(unit * (mean + side * max(std, LEAST)), 4) for side in (-3, 3))
        stacks.append(spec(Stack, key=key, low=low, high=high, channels=channels))
    with config.unlocked():
        data = config.data
        data.transforms = (*_apart_from(data.transforms, DropModalities, Stack), drop, *stacks)
        data.evaluation_transforms = (*_apart_from(data.evaluation_transforms, Stack), *stacks)
        _one_for_all_channels(config.method.encoder)


def _of_senses(senses: Mapping[str, tuple[int, ...]]) -> tuple[list[ConfigDict], int]:
    """Return the modalities of captions and sounds of these shapes, and their number of tokens."""
    modalities, tokens = [], 0
    for key, (length, *channels) in senses.items():
        if not channels:
            modalities.append(spec(Text, key=key))
            tokens += length
            continue
        frames = length // audio.HOP
        if not frames:
            raise UserError(f"A sound has frames of 10 ms; got {length} samples. Set --config.data.audio_seconds=1.")
        rows = next(number for number in range(FRAMES, 0, -1) if frames % number == 0)
        modality = spec(audio.Audio, key=key, patch=(rows, 16), channels=channels[0])
        modalities.append(modality)
        tokens += frames // rows * (audio.BANDS // modality.patch[1])
    return modalities, tokens


def _check_unread(config: ConfigDict, senses: Mapping[str, Any]) -> None:
    """Raise UserError if a network gets captions or sounds that it does not read, but that keep images from being mirrored."""
    mirrors = [spec(kind).target for kind in (HorizontalFlip, VerticalFlip)]
    if any(each.target in mirrors for each in config.data.transforms):
        name = config.method.target.rpartition(":")[2]
        fields = " and ".join({"caption": "--config.data.captions", "sound": "--config.data.audio"}[key] for key in senses)
        raise UserError(f"{name} reads only images and planes, no {' or '.join(senses)}. Leave out {fields}, or use folder:fusion.")


def _apart_from(transforms: Iterable[ConfigDict], *kinds: type) -> tuple[ConfigDict, ...]:
    left_out = [spec(kind).target for kind in kinds]
    return tuple(each for each in transforms if each.target not in left_out)


def _one_for_all_channels(encoder: ConfigDict) -> tuple[float, float]:
    """Set an encoder's mean and std to one number each, for planes of any number of channels; return them."""
    for name in ("mean", "std"):
        encoder[name] = (math.fsum(encoder[name]) / len(encoder[name]),)
    return encoder.mean[0], encoder.std[0]
