"""Mean and standard deviation of each channel of a source's images."""

from typing import NamedTuple

import numpy as np

from aeseg.data.records import Source
from aeseg.types import UserError


class Statistics(NamedTuple):
    """Per channel, in units of [0, 1]; `images` were read."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    images: int


def channel_statistics(source: Source, images: int = 1000, seed: int = 0) -> Statistics:
    """Mean and standard deviation over all pixels of a seeded sample of images, one image in memory at a time.

    Sums are whole numbers, so the result does not depend on the order; with all images it is NumPy's mean and std of them.
    """
    if len(source) == 0 or images < 1:
        raise UserError(f"Channel statistics need at least 1 image; got {len(source)} records, of which {images} were asked for.")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(source))[:images])
    pixels = 0
    sums: np.ndarray | None = None  # of values, of squares
    for index in chosen:
        image = source[int(index)]["image"]
        flat = image.reshape(-1, image.shape[-1]).astype(np.uint64)
        here = np.stack([flat.sum(axis=0), np.square(flat).sum(axis=0)])
        if sums is not None and sums.shape != here.shape:
            raise UserError(f"Images have {sums.shape[1]} and {here.shape[1]} channels; expected one number. Set channels.")
        sums = here if sums is None else sums + here
        pixels += len(flat)
    assert sums is not None
    totals, squares = sums.tolist()
    # Whole numbers of any size: n sum(x^2) - sum(x)^2 loses nothing to cancellation.
    variances = [pixels * square - total**2 for total, square in zip(totals, squares, strict=True)]
    mean = tuple(total / pixels / 255 for total in totals)
    return Statistics(mean, tuple(variance**0.5 / pixels / 255 for variance in variances), len(chosen))
