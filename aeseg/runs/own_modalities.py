"""Modalities of a method on your own images: the image, and the aligned planes that the folder names."""

import math
from typing import Any

from ml_collections import ConfigDict

from aeseg.data.planes import DropModalities
from aeseg.data.statistics import planes_statistics
from aeseg.models.modalities.planes import Planes
from aeseg.spec import spec

SAMPLE = 200
"""Records whose planes give their mean and standard deviation."""

LEAST = 1e-3
"""Smallest standard deviation, since planes may be constant."""

SEEN = 1 / 6
"""Fraction of the tokens that a pretraining's encoder sees (Bachmann et al. 2022, section 4.1: 98 of 588)."""


def follow(config: ConfigDict, train: Any) -> None:
    """Give a method of several modalities the planes of its training records, standardised; other methods stay as they are.

    A pretraining sees a sixth of the tokens, and a `Fusion` trains with `DropModalities`.
    """
    planes, method = getattr(train, "planes", {}), config.method
    if not planes or "modalities" not in method:
        return
    image, *_ = method.modalities
    by_patch = "patch" in method.encoder
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
    with config.unlocked():
        method.modalities = (image, *further)
        if "visible" in method:
            height, width = config.window
            method.visible = max(1, round(SEEN * len(method.modalities) * (height // image.patch) * (width // image.patch)))
        if method.target.endswith(":Fusion"):
            drop = spec(DropModalities, keys=("image", *planes))
            config.data.transforms = (*(each for each in config.data.transforms if each.target != drop.target), drop)


def _one_for_all_channels(encoder: ConfigDict) -> tuple[float, float]:
    """Set an encoder's mean and std to one number each, for planes of any number of channels; return them."""
    for name in ("mean", "std"):
        encoder[name] = (math.fsum(encoder[name]) / len(encoder[name]),)
    return encoder.mean[0], encoder.std[0]
