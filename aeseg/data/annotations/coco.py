"""COCO: one JSON file for all images; polygons and run lengths are decoded by pycocotools.

Class 0 of aeseg is the background, outside all objects.  Larger objects are drawn first, so smaller objects stay visible.
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

_LIMIT = 2**30  # bytes; COCO's own largest file has 470 MB


class Annotations(NamedTuple):
    """Category names by id, in the order of ids; objects by image file name."""

    categories: Mapping[int, str]
    objects: Mapping[str, tuple[Mapping[str, Any], ...]]


def read(path: Path) -> Annotations:
    """Read an annotation file; the last file read stays in memory."""
    return _read(str(path), os.stat(path).st_mtime_ns if path.exists() else 0)


def label(path: Path, image: str, names: Mapping[str, int], size: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    """Return the label of one image (a path below the root); `names` maps a category's name to its class."""
    annotations = read(path)
    listed = annotations.objects.get(key(annotations, image))
    if listed is None:
        raise UserError(f"{shown(path)} has no image {shown(image)}. Add it, or set only_labelled to leave such images out.")
    result = np.zeros(size, np.uint8)
    for item in sorted(listed, key=lambda item: -float(item.get("area", 0))):
        number = item.get("category_id", -1)
        name = annotations.categories.get(number, f"id {number}")
        if name not in names:
            raise UserError(
                f"{shown(path)} has the category {shown(name)!r}; class_table has {few(names, 20)}. Add it, or ignore it there."
            )
        result[_region(item, size, path)] = names[name]
    return result


def key(annotations: Annotations, image: str) -> str:
    """Return an image's file name in the annotations: its path, the path's tail, or its base name."""
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
            f"{shown(path)} is not COCO's: expected images, categories and annotations ({shown(error)!r}). Correct it."
        ) from error
    return Annotations(categories, {name: tuple(items) for name, items in objects.items()})


def _region(item: Mapping[str, Any], size: tuple[int, int], path: Path) -> np.ndarray:
    """Return the mask of an object, bool [h w]."""
    try:
        from pycocotools import mask
    except ImportError as error:
        raise UserError("COCO annotations need pycocotools, which is not installed. Run: pip install pycocotools.") from error
    h, w = size
    outline = item.get("segmentation")
    try:
        if isinstance(outline, list) and outline:
            polygons = [np.asarray(polygon, np.float64).reshape(-1).tolist() for polygon in outline]
            if not all(len(polygon) >= 6 and len(polygon) % 2 == 0 and np.isfinite(polygon).all() for polygon in polygons):
                raise ValueError("a polygon has at least 3 corners")
            return mask.decode(mask.merge(mask.frPyObjects(polygons, h, w))).astype(bool)
        if isinstance(outline, dict) and list(outline["size"]) == [h, w]:
            counts = outline["counts"]
            if isinstance(counts, str):
                return mask.decode({"size": [h, w], "counts": counts.encode()}).astype(bool)
            if min(counts, default=0) < 0 or sum(counts) != h * w:
                raise ValueError("run lengths do not fill the image")
            return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(w, h).T
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{shown(path)} has an object that cannot be read ({shown(error)}). Correct it.") from error
    raise UserError(
        f"{shown(path)} has an object without a segmentation of {h}x{w} pixels (height x width). Export polygons or run lengths."
    )
