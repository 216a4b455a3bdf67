"""Samples compared with real images: nearest training images, and the Fréchet distance to held-out images."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from aeseg.data import wrappers
from aeseg.data.transforms import HorizontalFlip
from aeseg.inference.likeness import Nearest, frechet_distance
from aeseg.runs import scores as scoring
from aeseg.runs.features import Features
from aeseg.runs.run import Run
from aeseg.types import UserError

from ..console.progress import Progress
from .drawn import as_bytes

CLOSE = 0.05
"""Quantile of held-out distances below which a sample counts as close to a training image."""


class Neighbours(NamedTuple):
    """The nearest training image of each sample, by one measure.

    distance   to the sample
    record     index in the training records
    mirrored   the image is mirrored
    held_out   distances of held-out images to their nearest training images
    """

    distance: Float[np.ndarray, "n"]
    record: Int[np.ndarray, "n"]
    mirrored: Bool[np.ndarray, "n"]
    names: list[str]
    images: UInt8[np.ndarray, "n h w c"]
    held_out: Float[np.ndarray, "m"]


def windows(run: Run, source: Any, batch: int) -> Iterator[tuple[UInt8[np.ndarray, "b h w c"], Int[np.ndarray, "b"]]]:
    """Yield images of a source, cropped to the run's window, with their indices."""
    for rows in scoring.windows(run, source, batch):
        yield as_bytes(rows["image"])[rows["valid"]], rows["index"][rows["valid"]]


def halves(run: Run, split: str, number: int, batch: int) -> tuple[UInt8[np.ndarray, "n h w c"], UInt8[np.ndarray, "n h w c"]]:
    """Return at most `number` images of each half of a split, evenly spread.

    With alternate images instead of halves, neighbours in a sequence would make both parts alike.
    """
    source = run.data.scored(split)
    half = len(source) // 2
    if half < 2:
        raise UserError(f"A Fréchet distance needs 4 or more held-out images; {split} has {len(source)}. Set --split or --data.")
    chosen = np.linspace(0, half - 1, min(number, half)).round().astype(int)
    first, second = (
        np.concatenate([images for images, _ in windows(run, wrappers.Selected(source, indices.tolist()), batch)])
        for indices in (chosen, half + chosen)
    )
    return first, second


def measured(
    run: Run, samples: UInt8[np.ndarray, "n h w c"], real: tuple[UInt8[np.ndarray, "m h w c"], ...], extract: Features, batch: int
) -> tuple[dict[str, Any], dict[str, Neighbours]]:
    """Return the numbers of a comparison, and the nearest training images by measure, "pixels" or "features"."""

    def features(images: UInt8[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n d"]:
        return np.concatenate([_padded(extract, images[start : start + batch], batch) for start in range(0, len(images), batch)])

    sampled, first, second = (features(images) for images in (samples, *real))
    count = min(len(sampled), len(first))
    numbers: dict[str, Any] = {
        "frechet": {
            "samples": frechet_distance(sampled[:count], second[:count]),
            "floor": frechet_distance(first[:count], second[:count]),
            "images": count,
            "numbers": sampled.shape[1],
        }
    }
    search = {
        "pixels": Nearest(np.concatenate([_flat(samples), _flat(real[0])])),
        "features": Nearest(np.concatenate([sampled, first])),
    }
    mirrors = any(isinstance(transform, HorizontalFlip) for transform in run.data.transforms)
    records = len(run.training)
    with Progress("comparing", records) as progress:
        for images, index in windows(run, run.training, batch):
            for mirrored in (False, True)[: 1 + mirrors]:
                seen = images[:, :, ::-1] if mirrored else images
                search["pixels"].add(_flat(seen), index + mirrored * records)
                search["features"].add(_padded(extract, seen, batch), index + mirrored * records)
            progress.at(int(index[-1]) + 1)
    neighbours = {measure: _found(run, one, len(samples), batch) for measure, one in search.items()}
    root = np.sqrt(samples[0].size)  # from Euclidean distance to root mean square
    neighbours["pixels"] = neighbours["pixels"]._replace(
        distance=neighbours["pixels"].distance / root, held_out=neighbours["pixels"].held_out / root
    )
    numbers["nearest"] = {measure: _summary(one) for measure, one in neighbours.items()}
    return numbers, neighbours


def per_sample(neighbours: dict[str, Neighbours]) -> list[dict[str, Any]]:
    """Return the nearest training images of each sample."""
    return [
        {
            "file": f"samples/{number:04}.png",
            **{
                measure: {"distance": float(one.distance[number]), "nearest": one.names[number], "mirrored": bool(one.mirrored[number])}
                for measure, one in neighbours.items()
            },
        }
        for number in range(len(neighbours["pixels"].distance))
    ]


def _found(run: Run, search: Nearest, samples: int, batch: int) -> Neighbours:
    records = len(run.training)
    record, mirrored = search.index[:samples] % records, search.index[:samples] >= records
    wanted = np.unique(record)
    chosen = wrappers.Selected(run.training, wanted.tolist())
    images = np.concatenate([part for part, _ in windows(run, chosen, batch)])
    names = [str(chosen[row].get("name", number)) for row, number in enumerate(wanted)]
    rows = np.searchsorted(wanted, record)
    shown = np.where(mirrored[:, None, None, None], images[rows][:, :, ::-1], images[rows])
    return Neighbours(search.distance[:samples], record, mirrored, [names[row] for row in rows], shown, search.distance[samples:])


def _summary(neighbours: Neighbours) -> dict[str, float]:
    """Return the medians of the distances, and the fraction of samples that are nearer than the quantile CLOSE of held-out images."""
    close = float(np.quantile(neighbours.held_out, CLOSE))
    return {
        "samples": float(np.median(neighbours.distance)),
        "held_out": float(np.median(neighbours.held_out)),
        "close": close,
        "closer": float(np.mean(neighbours.distance < close)),
    }


def _flat(images: UInt8[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n d"]:
    return images.reshape(len(images), -1).astype(np.float64)


def _padded(extract: Features, images: UInt8[np.ndarray, "n h w c"], batch: int) -> Float[np.ndarray, "n d"]:
    """Return the features of at most `batch` images, filled up to `batch` with zeros, so that only one program is compiled."""
    filled = np.zeros((batch, *images.shape[1:]), np.uint8)
    filled[: len(images)] = images
    return extract(filled)[: len(images)]
