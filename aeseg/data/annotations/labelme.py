"""LabelMe: one JSON file per image, with named polygons, rectangles and circles.  Later shapes cover earlier shapes."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from aeseg.data.annotations.polygons import painted
from aeseg.data.files import few, shown, text
from aeseg.types import UserError


def label(path: Path, names: Mapping[str, int], size: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    """Return the label of an image; pixels outside all shapes have class 0.  `names` maps the labels of shapes to classes."""
    canvas = np.zeros(size, np.uint8)
    for shape in shapes(path, size):
        name = str(shape.get("label", ""))
        if name not in names:
            raise UserError(
                f"{shown(path)} has a shape {shown(name)!r}; class_table has {few(names, 20)}. Add the class, or ignore it there."
            )
        canvas = painted(canvas, _corners(shape, path), names[name], shown(path))
    return canvas


def shapes(path: Path, size: tuple[int, int] = (0, 0)) -> list[Mapping[str, Any]]:
    """Return the shapes of a file; UserError if it is not a LabelMe file, or is for an image of another size."""
    try:
        content = json.loads(text(path, "annotation"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{shown(path)} is not JSON ({error}). Correct or remove it.") from error
    listed = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(listed, list) or not all(isinstance(shape, dict) for shape in listed):
        raise UserError(f"{shown(path)} is not a LabelMe file: expected a list of 'shapes'. For a COCO file, set labels to its path.")
    stated_size = content.get("imageHeight"), content.get("imageWidth")
    if size != (0, 0) and None not in stated_size and stated_size != size:
        raise UserError(
            f"{shown(path)} is for an image of {stated_size[0]}x{stated_size[1]} (height x width); its image has {size[0]}x{size[1]}. "
            "Correct the file."
        )
    return listed


def _corners(shape: Mapping[str, Any], path: Path) -> np.ndarray:
    kind = shape.get("shape_type", "polygon")
    try:
        points = np.array(shape.get("points"), np.float64).reshape(-1, 2)
    except (ValueError, TypeError) as error:
        raise UserError(f"{shown(path)} has a shape without pairs of numbers ({shown(error)}). Correct the file.") from error
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points
        return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    if kind == "circle" and len(points) == 2:
        angle = np.linspace(0, 2 * math.pi, 128, endpoint=False)
        return points[0] + np.linalg.norm(points[1] - points[0]) * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    if kind != "polygon":
        raise UserError(f"{shown(path)} has a shape of type {shown(kind)!r}; expected a polygon, rectangle or circle. Remove it.")
    return points
