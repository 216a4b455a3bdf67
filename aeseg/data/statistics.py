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
    pixels, total, squares = 0, 0, 0
    for index in chosen:
        image = source[int(index)]["image"]
        flat = image.reshape(-1, image.shape[-1]).astype(np.uint64)
        if pixels and total.shape != flat.shape[1:]:
            raise UserError(f"Images have {total.shape[0]} and {flat.shape[1]} channels; expected one number. Set channels.")
        pixels, total, squares = pixels + len(flat), total + flat.sum(axis=0), squares + np.square(flat).sum(axis=0)
    mean = total / pixels
    variance = [
        int(pixels) * int(square) - int(one) ** 2 for square, one in zip(squares, total, strict=True)
    ]  # exact, without cancellation
    std = [max(0, value) ** 0.5 / pixels for value in variance]
    return Statistics(tuple(float(value) / 255 for value in mean), tuple(value / 255 for value in std), len(chosen))
