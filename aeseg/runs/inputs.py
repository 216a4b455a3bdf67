"""The inputs of a run's network for a new image: the image, and the modalities that the network reads beside it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Shaped

from aeseg.data import transforms
from aeseg.data.planes import DropModalities, stacked
from aeseg.data.records import is_aligned
from aeseg.inference import evaluate
from aeseg.inference.windows import Inputs
from aeseg.runs.run import Run
from aeseg.types import UserError

REQUIRED = "which the network reads as channels of the image and has always seen in training"


def of_image(
    run: Run, image: Shaped[np.ndarray, "h w c"], given: Mapping[str, np.ndarray] | None = None, name: str = "the image"
) -> Inputs:
    """Return what the network reads of an image, after the run's transforms: the image, or its entries if there are several.

    given   entries of the other modalities, as the run's records have them: {"thermal": [h w]}; absent ones count as missing, as do those
            with `has_<key>` False; UserError if one of `required` is missing
    """
    if not given and _reads(run):
        return _changed(run, {"image": image, "name": name})["image"]
    zeros = _zeros(run, *image.shape[:2])
    _check(given or {}, zeros, image, name)
    entries = {**zeros, **dict.fromkeys((f"has_{key}" for key in zeros), np.array(False))}
    for key in zeros:
        if given and key in given:
            entries |= {key: given[key], f"has_{key}": np.asarray(given.get(f"has_{key}", True))}
    if without := [key for key in required(run) if not entries[f"has_{key}"]]:
        raise UserError(f"Expected {' and '.join(without)} of {name}, {REQUIRED}; got none. Give it, or leave this image out.")
    record = _changed(run, {"image": image, "name": name, **entries})
    return evaluate.inputs(record, _reads(run)) if _reads(run) else record["image"]


def required(run: Run) -> tuple[str, ...]:
    """Return the stacked planes that training never left out, so that zeros would be a guess instead of a known sign of a missing plane."""
    drops = [each for each in run.data.transforms if isinstance(each, DropModalities) and each.probability > 0]
    return tuple(key for key in stacked(run.data.evaluation_transforms) if not any(key in each.keys for each in drops))


def kept_transforms(run: Run) -> list[Any]:
    """Return a run's evaluation transforms that keep the whole image: resizing, colours and stacked planes, not crops and moves."""
    changes = run.data.evaluation_transforms
    return [change for change in changes if type(change).__module__ != transforms.__name__ or isinstance(change, transforms.Resize)]


def _reads(run: Run) -> tuple[str, ...]:
    return getattr(run.method, "reads", ())


def _changed(run: Run, record: dict[str, Any]) -> dict[str, Any]:
    for change in kept_transforms(run):
        record = change(record, np.random.default_rng(0))
    return record


def _zeros(run: Run, h: int, w: int) -> dict[str, np.ndarray]:
    """Return the values of missing modalities for an image of h x w."""
    read = {modality.key: modality.example(h, w)[0] for modality in run.method.modalities[1:]} if _reads(run) else {}
    planes = stacked(run.data.evaluation_transforms)
    return read | {key: np.zeros((h, w, channels), np.uint8) for key, channels in planes.items()}


def _check(given: Mapping[str, np.ndarray], zeros: Mapping[str, np.ndarray], image: np.ndarray, name: str) -> None:
    """Raise UserError for an entry that the network does not read, or planes of another size or number than it reads."""
    if further := [key for key in given if key.removeprefix("has_") not in zeros]:
        known = ", ".join(("image", *zeros))
        raise UserError(
            f"The network reads {known}; got {', '.join(further)} of {name}. Leave {'it' if len(further) == 1 else 'them'} out."
        )
    for key, empty in zeros.items():
        if key not in given or not is_aligned(key, empty):  # captions and sounds have any length
            continue
        (h, w), (rows, columns) = image.shape[:2], given[key].shape[:2]
        if (h, w) != (rows, columns) or given[key].size != empty.size:
            raise UserError(
                f"The network reads {empty.size // (h * w)} planes of {key}, of the image's size {h}x{w}; got an array of shape "
                f"{given[key].shape} for {name}. Give planes as the run's records have them."
            )
