"""Modalities of a method on your own images: the image, and the planes, captions, sounds and pseudo-labels that the folder names."""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from aeseg.data.planes import DropModalities, Stack
from aeseg.data.statistics import planes_statistics
from aeseg.data.transforms import HorizontalFlip, VerticalFlip
from aeseg.models.modalities import audio
from aeseg.models.modalities.label import Label
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


FLAGS = {"caption": "--config.data.captions", "sound": "--config.data.audio", "label": "--config.data.pseudo_labels"}
"""Flag that names the files of a modality."""

NAMES = {"caption": "captions", "sound": "sounds", "label": "pseudo-labels"}


def follow(config: ConfigDict, train: Any) -> None:
    """Give a method of several modalities those of its training records, with standardised planes; other methods stay as they are.

    A pretraining sees a sixth of the tokens.  A `Fusion` of several aligned modalities trains with `DropModalities`.  Networks of captions
    or sounds, which name positions, train without mirrored images.  A config of one image that trains with `DropModalities` gets the planes
    as channels of the image (`Stack`).

    Raises UserError for captions, sounds and pseudo-labels that the method does not read.
    """
    planes, senses, method = getattr(train, "planes", {}), getattr(train, "senses", {}), config.method
    by_patch, pseudo = reads_senses(method), getattr(train, "reads_pseudo_labels", False)
    check_read(config, () if by_patch else tuple(senses), FLAGS, "folder:fusion")
    check_read(config, ("label",) if pseudo and not method.target.endswith(":Multimodal") else (), FLAGS, "folder:multimodal")
    drop = spec(DropModalities, keys=("image", *planes))
    if planes and _stacks(config):
        _stack(config, train, drop)
        return
    if not (planes or senses or pseudo) or "modalities" not in method:
        return
    image, *_ = method.modalities
    middle, spread = (0.0, 1.0) if by_patch else one_for_all_channels(method.encoder)
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
    labels = (label_maps(len(train.classes), image.patch),) if pseudo else ()
    with config.unlocked():
        method.modalities = (image, *further, *labels, *words)
        if "visible" in method:
            (height, width), aligned = config.window, 1 + len(planes) + len(labels)
            method.visible = max(1, round(SEEN * (aligned * (height // image.patch) * (width // image.patch) + tokens)))
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
        one_for_all_channels(config.method.encoder)


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


def reads_senses(method: ConfigDict) -> bool:
    """Return whether a method reads tokens, so captions and sounds, too: `Multimodal` and `Fusion`, but not `Vote`."""
    return "modalities" in method and "patch" in method.get("encoder", {}) and not method.target.endswith(":Vote")


def check_read(config: ConfigDict, unread: Collection[str], flags: Mapping[str, str], remedy: str) -> None:
    """Raise UserError if the data have entries that the method does not read; `flags` name them, `remedy` is a config that reads them."""
    if unread:
        stacks = _stacks(config)
        name = "stacked" if stacks else config.method.target.rpartition(":")[2]
        reads = "images and planes aligned with them" if stacks or "modalities" in config.method else "images"
        words, leave_out = (" and ".join(of[key] for key in unread) for of in (NAMES, flags))
        raise UserError(f"{name} reads {reads}; got {words}. Leave out {leave_out}, or use {remedy}.")


def label_maps(classes: int, patch: int) -> ConfigDict:
    """Return the modality of label maps, with about 4 x 4 classes in each patch, as in the paper."""
    stride = next(stride for stride in range(max(1, patch // 4), 0, -1) if patch % stride == 0)
    return spec(Label, classes=classes, patch=patch, stride=stride)


def _stacks(config: ConfigDict) -> bool:
    """Return whether planes become channels of the image."""
    drops = spec(DropModalities).target
    return "modalities" not in config.method and any(each.target == drops for each in config.data.transforms)


def _apart_from(transforms: Iterable[ConfigDict], *kinds: type) -> tuple[ConfigDict, ...]:
    left_out = [spec(kind).target for kind in kinds]
    return tuple(each for each in transforms if each.target not in left_out)


def one_for_all_channels(encoder: ConfigDict) -> tuple[float, float]:
    """Set an encoder's mean and std to one number each, for planes of any number of channels; return them."""
    for name in ("mean", "std"):
        encoder[name] = (math.fsum(encoder[name]) / len(encoder[name]),)
    return encoder.mean[0], encoder.std[0]
