"""Write the results of one image as files, and return its row of the overview."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int32, Shaped

from aeseg import files
from aeseg.data import georeference
from aeseg.inference import draw
from aeseg.inference.views import checked, resized, softmax
from aeseg.types import Class

from .outputs import Outputs

LARGE = 2**24
"""Images with more pixels are predicted in strips and shown smaller."""

ROWS = 512
"""Rows of a large image to draw at a time."""


class Item(NamedTuple):
    """An input file: name of its results, pixels, and GeoTIFF tags, if any."""

    name: str
    image: Shaped[np.ndarray, "h w c"]
    tags: tuple[georeference.Tag, ...] = ()


def is_large(height: int, width: int) -> bool:
    """Return whether an image is predicted in strips."""
    return height * width > LARGE


def segmented(
    item: Item, values: Float[np.ndarray, "_ _ k"], classes: tuple[Class, ...], out: Outputs, logits: bool, uncertain: bool
) -> dict[str, Any]:
    """Write label and overlay, and logits and uncertainty if requested; return the columns of the image's row in the overview.

    Values of another size than the image are resized as probabilities.
    """
    size, scores, further = item.image.shape[:2], values[..., : len(classes)], values[..., len(classes) :]
    resizes = values.shape[:2] != size
    if resizes:
        probabilities = softmax(scores)
        label = most_likely(probabilities, size)
    else:
        label = np.argmax(scores, axis=-1).astype(np.int32)
    beside = {"uncertainty": resized(further, size)[..., 0]} if uncertain else {}
    if logits:
        if resizes:
            scores = np.log(np.maximum(resized(probabilities, size), np.finfo(np.float32).tiny))
        with files.replacing(out.path("logits", item.name, ".npz")) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, logits=scores.astype(np.float32), **beside)
    overlay = draw.overlay(item.image, label, classes)
    _write_label(item, label, classes, out)
    draw.write_image(out.path("overlays", item.name, ".png"), overlay)
    shown = {"prediction": label, "overlay": overlay}
    if beside:
        shown["uncertainty"] = draw.uncertainty_map(beside["uncertainty"], len(classes))
        draw.write_image(out.path("uncertainties", item.name, ".png"), shown["uncertainty"])
    return shown


def reconstructed(item: Item, values: Float[np.ndarray, "_ _ c"], out: Outputs) -> dict[str, Any]:
    """Write an autoencoder's output; return the columns of the overview."""
    reconstruction = resized(values, item.image.shape[:2])
    draw.write_image(out.path("reconstructions", item.name, ".png"), reconstruction)
    return {"reconstruction": reconstruction}


def in_strips(
    item: Item, strips: Iterable[Float[np.ndarray, "_ w k"]], classes: tuple[Class, ...], out: Outputs, at: Callable[[float], None]
) -> dict[str, Any]:
    """Write the results of a large image whose logits come in strips, from top to bottom; call `at(fraction)` after each strip."""
    h, w = item.image.shape[:2]
    results = np.empty((h, w) if classes else (h, w, 3), np.uint8)
    top = 0
    for values in strips:
        values = checked(values, item.name)
        results[top : top + len(values)] = np.argmax(values, axis=-1) if classes else draw.as_rgb(values)
        top += len(values)
        at(top / h)
    thin = max(1, -(-max(h, w) // 2000))
    shown = {"image": item.image[::thin, ::thin]}
    if not classes:
        draw.write_image(out.path("reconstructions", item.name, ".png"), results)
        return {**shown, "reconstruction": results[::thin, ::thin]}
    _write_label(item, results, classes, out)
    overlay = np.empty((h, w, 3), np.uint8)
    for top in range(0, h, ROWS):
        below = slice(top, top + ROWS + 1)  # outlines read the next row
        overlay[top : top + ROWS] = draw.overlay(item.image[below], results[below].astype(np.int32), classes)[:ROWS]
    draw.write_image(out.path("overlays", item.name, ".png"), overlay)
    return {**shown, "prediction": results[::thin, ::thin].astype(np.int32), "overlay": overlay[::thin, ::thin]}


def most_likely(probabilities: Float[np.ndarray, "_ _ k"], size: tuple[int, int]) -> Int32[np.ndarray, "h w"]:
    """Return the most likely class after bilinear resizing to `size` (h, w); resizes one class at a time to save memory."""
    label = np.zeros(size, np.int32)
    best = np.full(size, -np.inf, np.float32)
    for index in range(probabilities.shape[-1]):
        plane = resized(probabilities[..., index : index + 1], size)[..., 0]
        label[plane > best] = index
        np.maximum(best, plane, out=best)
    return label


def _write_label(item: Item, label: Shaped[np.ndarray, "h w"], classes: tuple[Class, ...], out: Outputs) -> None:
    draw.write_label(out.path("labels", item.name, ".png"), label, classes)
    if item.tags:
        with files.replacing(out.path("labels", item.name, ".tif")) as temporary:
            georeference.write(temporary, np.asarray(label, np.uint8), item.tags)
