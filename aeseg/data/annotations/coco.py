"""COCO: one JSON file for all images.  pycocotools decodes polygons and run lengths.

Class 0 is the background, outside all objects.  Larger objects are drawn first, so that smaller objects stay visible.
"""

import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from aeseg.data.files import few, shown, text
from aeseg.types import UserError

_LIMIT = 2**30  # bytes; the largest file of COCO has 470 MB


class Annotations(NamedTuple):
    """Contents of a file: category names by id, with ascending ids, and objects by image file name."""

    categories: Mapping[int, str]
    objects: Mapping[str, tuple[Mapping[str, Any], ...]]


def read(path: Path) -> Annotations:
    """Return the annotations of a file; the last file stays in memory."""
    return _read(str(path), os.stat(path).st_mtime_ns if path.exists() else 0)


def label(path: Path, image: str, names: Mapping[str, int], size: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    """Return the label of an image, given by its path below the root; `names` maps category names to classes."""
    annotations = read(path)
    objects = annotations.objects.get(key(annotations, image))
    if objects is None:
        raise UserError(f"{shown(path)} has no image {shown(image)}. Add it, or set only_labelled to leave out such images.")
    canvas = np.zeros(size, np.uint8)
    for item in sorted(objects, key=lambda item: -float(item.get("area", 0))):
        category = item.get("category_id", -1)
        name = annotations.categories.get(category, f"id {category}")
        if name not in names:
            raise UserError(
                f"{shown(path)} has the category {shown(name)!r}; class_table has {few(names, 20)}. Add it, or ignore it there."
            )
        canvas[_region(item, size, path)] = names[name]
    return canvas


def key(annotations: Annotations, image: str) -> str:
    """Return an image's file name in the annotations: the longest end of its path that is there, or its base name."""
    parts = image.replace("\\", "/").split("/")
    return next((tail for start in range(len(parts)) if (tail := "/".join(parts[start:])) in annotations.objects), parts[-1])


@functools.lru_cache(maxsize=1)
def _read(path: str, changed: int) -> Annotations:
    try:
        annotations = json.loads(text(path, "annotations", _LIMIT))
        categories = {int(item["id"]): str(item["name"]) for item in sorted(annotations["categories"], key=lambda item: int(item["id"]))}
        names = {item["id"]: str(item["file_name"]) for item in annotations["images"]}
        objects: dict[str, list[Mapping[str, Any]]] = {name: [] for name in names.values()}
        for item in annotations["annotations"]:
            objects[names[item["image_id"]]].append(item)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{shown(path)} is not a COCO file: expected images, categories and annotations ({shown(error)!r}). Correct the file."
        ) from error
    return Annotations(categories, {name: tuple(items) for name, items in objects.items()})


def _region(item: Mapping[str, Any], size: tuple[int, int], path: Path) -> np.ndarray:
    """Return the mask of an object, bool [h w]."""
    try:
        from pycocotools import mask
    except ImportError as error:
        raise UserError("COCO annotations need pycocotools, which is not installed. Run: pip install pycocotools.") from error
    h, w = size
    segmentation = item.get("segmentation")
    try:
        if isinstance(segmentation, list) and segmentation:
            polygons = [np.asarray(polygon, np.float64).reshape(-1).tolist() for polygon in segmentation]
            if not all(len(polygon) >= 6 and len(polygon) % 2 == 0 and np.isfinite(polygon).all() for polygon in polygons):
                raise ValueError("a polygon needs at least 3 corners")
            return mask.decode(mask.merge(mask.frPyObjects(polygons, h, w))).astype(bool)
        if isinstance(segmentation, dict) and list(segmentation["size"]) == [h, w]:
            counts = segmentation["counts"]
            if isinstance(counts, str):
                return mask.decode({"size": [h, w], "counts": counts.encode()}).astype(bool)
            if min(counts, default=0) < 0 or sum(counts) != h * w:
                raise ValueError("run lengths must fill the image")
            return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(w, h).T
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{shown(path)} has an object that cannot be read ({shown(error)}). Correct the file.") from error
    raise UserError(
        f"{shown(path)} has an object without a segmentation of {h}x{w} pixels (height x width). Export polygons or run lengths."
    )
