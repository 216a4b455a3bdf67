"""Conditions under which a segmenter is scored: the modalities that are present, and the light."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aeseg.data import planes
from aeseg.data.planes import WithoutModalities
from aeseg.data.records import Record
from aeseg.inference import evaluate as evaluation
from aeseg.inference.sliding import Predict
from aeseg.runs import scores as scoring
from aeseg.runs.run import Run

DARK = 0.1
"""Mean of an image, in 0..1, below which it is dark."""

LIGHTS = ("lit", "dark")

PIECE = 2**16
"""Pixels that are counted at once."""


def modalities(run: Run) -> tuple[str, ...]:
    """Return the modalities that a segmenter reads: the image, the planes stacked onto it, and what the method reads."""
    return ("image", *planes.stacked(run.data.evaluation_transforms), *getattr(run.method, "reads", ()))


def subsets(keys: Sequence[str]) -> list[tuple[str, ...]]:
    """Return all non-empty subsets, the largest first.

    >>> subsets(("image", "depth"))
    [('image', 'depth'), ('image',), ('depth',)]
    """
    return [subset for size in range(len(keys), 0, -1) for subset in itertools.combinations(keys, size)]


def without(run: Run, missing: Sequence[str]) -> Run:
    """Return the run whose scored records lack the modalities `missing`."""
    if not missing:
        return run
    changes = (WithoutModalities(tuple(missing)), *run.data.evaluation_transforms)
    return dataclasses.replace(run, data=dataclasses.replace(run.data, evaluation_transforms=changes))


def of_subsets(
    run: Run, predict: Predict, source: Any, dark: Sequence[bool] = (), known: Mapping[str, Any] | None = None, **how: Any
) -> list[dict[str, Any]]:
    """Return the scores for each subset of the modalities: `present`, `missing`, the `short` scores.

    `dark`, from `is_dark`, adds the `short` scores by light. `known` are the scores with all modalities, if they are measured already.
    """
    keys, entries = modalities(run), []
    for present in subsets(keys):
        missing = [key for key in keys if key not in present]
        scores = known if known and not missing else _scored(without(run, missing), predict, source, dark, **how)
        light = {"light": scores["light"]} if dark else {}
        entries.append({"present": list(present), "missing": missing, **short(scores), **light})
    return entries


def _scored(run: Run, predict: Predict, source: Any, dark: Sequence[bool], **how: Any) -> dict[str, Any]:
    """Return the scores of a run, with `light` if there is `dark`."""
    by_light = ByLight(dark, len(source.classes))
    scores = scoring.segmentation(run, predict, source, seen=by_light.add if dark else _unseen, **how)
    return {**scores, "light": by_light.scores(source.classes)}


def short(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mean IoU and the IoU of each class."""
    return {"mean_iou": scores["mean_iou"], "iou": {each["name"]: each["iou"] for each in scores["per_class"]}}


def is_dark(source: Any) -> list[bool]:
    """Return whether the mean of each image of a source is below DARK."""
    images = (source[index]["image"] for index in range(len(source)))
    return [bool(image.mean() / np.iinfo(image.dtype).max < DARK) for image in images]


class ByLight:
    """Confusion matrices of lit and dark images; `add` is a `seen` of `evaluation.segmentation`."""

    def __init__(self, dark: Sequence[bool], classes: int):
        self.dark, self.classes = dark, classes
        self.confusion = np.zeros((2, classes, classes), np.int64)

    def add(self, index: int, record: Record, prediction: np.ndarray, further: np.ndarray) -> None:
        """Count an image's pixels."""
        self.confusion[int(self.dark[index])] += evaluation.counted_pixels(prediction, record["label"], self.classes, PIECE)

    def scores(self, classes: Sequence[Any]) -> dict[str, Any]:
        """Return the `short` scores of lit and of dark images; leave out a light without labelled pixels."""
        summed = evaluation.summed(self.confusion)
        names = [name for name, _ in classes]
        return {
            light: short(evaluation.scores(confusion, names)) for light, confusion in zip(LIGHTS, summed, strict=True) if confusion.any()
        }


def _unseen(index: int, record: Record, prediction: np.ndarray, further: np.ndarray) -> None:
    """Ignore the image."""
