"""Mean and standard deviation of each channel of a source's images, and of its planes."""

from typing import NamedTuple

import numpy as np

from aeseg.data.records import Source
from aeseg.types import UserError


class Statistics(NamedTuple):
    """Mean and std per channel, in units of [0, 1], and the number of `images` read."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    images: int


def channel_statistics(source: Source, images: int = 1000, seed: int = 0) -> Statistics:
    """Compute mean and standard deviation over all pixels of a seeded sample of images, with one image in memory at a time.

    Values are counted, so the result does not depend on the order.  Over all images, it equals NumPy's mean and std.
    """
    if len(source) == 0 or images < 1:
        raise UserError(f"Channel statistics need at least 1 image; got {len(source)} records, of which {images} were asked for.")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(source))[:images])
    counts: np.ndarray | None = None  # count of each value in each channel
    for index in chosen:
        image = source[int(index)]["image"]
        values = np.iinfo(image.dtype).max + 1
        here = np.stack([np.bincount(image[..., channel].reshape(-1), minlength=values) for channel in range(image.shape[-1])])
        if counts is not None and counts.shape[1] != here.shape[1]:
            raise UserError("Some images have 8 bits and others 16; expected one number. Set bits=8 or bits=16.")
        if counts is not None and counts.shape != here.shape:
            raise UserError(f"Images have {len(counts)} and {len(here)} channels; expected one number. Set channels.")
        counts = here if counts is None else counts + here
    assert counts is not None
    units = np.arange(counts.shape[1]) / (counts.shape[1] - 1)
    weights = counts / counts.sum(axis=1, keepdims=True)
    mean = weights @ units
    std = np.sqrt(np.sum(weights * np.square(units - mean[:, None]), axis=1))
    return Statistics(tuple(mean.tolist()), tuple(std.tolist()), len(chosen))


def planes_statistics(source: Source, key: str, records: int = 1000, seed: int = 0) -> tuple[float, float]:
    """Compute the mean and standard deviation of all values of the planes `key`, over a seeded sample of the records that have them.

    uint8 and uint16 planes count in units of [0, 1].
    """
    chosen = np.random.default_rng(seed).permutation(len(source))[:records]
    sums, values = np.zeros(2), 0
    for index in np.sort(chosen):
        record = source[int(index)]
        if record.get(f"has_{key}", True):
            planes = record[key].astype(np.float64)
            planes = planes / np.iinfo(record[key].dtype).max if record[key].dtype.kind == "u" else planes
            sums += np.sum(planes), np.sum(np.square(planes))
            values += planes.size
    if not values:
        raise UserError(f"None of {len(chosen)} records has {key}; its statistics need at least 1. Take it out of aligned.")
    mean, square = sums / values
    return float(mean), float(np.sqrt(max(0.0, square - mean**2)))
