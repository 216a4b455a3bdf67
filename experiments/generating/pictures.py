"""Pictures of `generate`: single images, a grid, interpolations, and samples beside their nearest training images."""

import math
import os
from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8

from aeseg.inference import draw

from .compared import Neighbours

SHOWN = 64
"""Largest number of samples in a picture."""
TRIPLES = 3
"""Number of samples, each with its nearest images, in a row."""
LEAST = 96
"""Longer side, in pixels, up to which images in the grid are enlarged."""


def write(
    output: str,
    samples: UInt8[np.ndarray, "n h w c"],
    ends: tuple[UInt8[np.ndarray, "p h w c"], UInt8[np.ndarray, "p h w c"]],
    between: Mapping[float, UInt8[np.ndarray, "p h w c"]],
    neighbours: Mapping[str, Neighbours],
) -> None:
    """Write all pictures below `output`; `ends` are the images that `between` interpolates."""
    for number, image in enumerate(samples):
        draw.write_image(os.path.join(output, "samples", f"{number:04}.png"), image)
    draw.write_image(os.path.join(output, "samples.png"), grid(samples[:SHOWN]))
    if between:
        columns = {"image": ends[0], **{f"{fraction:.3g}": images for fraction, images in between.items()}, "other image": ends[1]}
        draw.panel(columns, os.path.join(output, "interpolations.png"))
    beside(samples, neighbours, os.path.join(output, "nearest.png"))


def grid(images: UInt8[np.ndarray, "n h w c"], gap: int = 2) -> UInt8[np.ndarray, "y x 3"]:
    """Return the images side by side, row by row, enlarged by an integer factor if they are small."""
    across = math.ceil(math.sqrt(len(images)))
    factor = max(1, math.ceil(LEAST / max(images.shape[1:3])))
    cells = np.stack([draw.as_rgb(image) for image in images]).repeat(factor, axis=1).repeat(factor, axis=2)
    height, width = cells.shape[1] + gap, cells.shape[2] + gap
    picture = np.full((math.ceil(len(images) / across) * height - gap, across * width - gap, 3), 255, np.uint8)
    for number, cell in enumerate(cells):
        y, x = number // across * height, number % across * width
        picture[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
    return picture


def beside(samples: UInt8[np.ndarray, "n h w c"], neighbours: Mapping[str, Neighbours], path: str) -> None:
    """Write samples beside their nearest training images by each measure, most alike by pixels first."""
    order = np.argsort(neighbours["pixels"].distance, kind="stable")[:SHOWN]
    rows = math.ceil(len(order) / TRIPLES)
    white = np.full(samples.shape[1:], 255, np.uint8)
    columns: dict[str, list[np.ndarray]] = {}
    texts: list[list[str]] = [[] for _ in range(rows)]
    for part in range(TRIPLES):
        numbers = order[part::TRIPLES]
        for title, images in {"sample": samples, **{f"by {measure}": one.images for measure, one in neighbours.items()}}.items():
            columns[title + " " * part] = [*images[numbers], *[white] * (rows - len(numbers))]  # names of columns differ
        for row, number in enumerate(numbers):
            pixels, features = (neighbours[measure].distance[number] for measure in ("pixels", "features"))
            texts[row].append(f"{number:04}: {pixels:.1f} grey levels, {features:.3g} in features")
    draw.panel(columns, path, names=["      ".join(row) for row in texts])
