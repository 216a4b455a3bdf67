"""Draw images, label maps and legends with Pillow and NumPy."""

import colorsys
import functools
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Integer, UInt8
from PIL import Image, ImageColor, ImageDraw, ImageFont

from aeseg import files
from aeseg.types import IGNORE, Class

PAPER, INK, QUIET, RULE = (255, 255, 255), (27, 31, 36), (110, 119, 129), (222, 226, 230)
WRONG, RIGHT = (214, 64, 50), (233, 236, 239)
IGNORED = (224, 224, 192)
"""Colour of IGNORE in palette files: the colour of void in PASCAL VOC."""

MARGIN, GAP = 32, 14
WIDTH = 1800  # largest width of a panel, in pixels
SMALLEST, LARGEST = 176, 480  # the longer side of one cell, in pixels


def palette(classes: Sequence[Class]) -> UInt8[np.ndarray, "256 3"]:
    """Return a colour per id: the colours of the classes, then distinct generated colours; IGNORE gets IGNORED."""
    colours = np.empty((256, 3), np.uint8)
    for index in range(256):
        # The golden angle spreads any number of hues evenly; three lightnesses separate neighbours in hue.
        hue, lightness = (0.58 + index * 0.381966) % 1, (0.52, 0.68, 0.38)[index % 3]
        colours[index] = np.round(255 * np.array(colorsys.hls_to_rgb(hue, lightness, 0.62)))
    for index, one in enumerate(classes):
        colours[index] = one.colour
    colours[IGNORE] = IGNORED
    return colours


def colour_label(label: Integer[np.ndarray, "h w"], classes: Sequence[Class] = ()) -> UInt8[np.ndarray, "h w 3"]:
    """Paint a label map in the colours of its classes. IGNORE is hatched, which no class colour resembles."""
    colours = palette(classes)[np.clip(label, 0, 255)]
    return np.where((label == IGNORE)[..., None], _hatching(*label.shape), colours)


def overlay(
    image: Float[np.ndarray, "h w c"] | UInt8[np.ndarray, "h w c"],
    label: Integer[np.ndarray, "h w"],
    classes: Sequence[Class] = (),
    alpha: float = 0.5,
) -> UInt8[np.ndarray, "h w 3"]:
    """Blend the label's colours into the image, strongest at class boundaries. IGNORE pixels show the image only."""
    picture = as_rgb(image).astype(np.float32)
    colours = palette(classes)[np.clip(label, 0, 255)].astype(np.float32)
    strength = np.where(_boundaries(label), max(alpha, 0.9), alpha) * (label != IGNORE)
    return np.round(picture + (colours - picture) * strength[..., None].astype(np.float32)).astype(np.uint8)


def error_map(label: Integer[np.ndarray, "h w"], prediction: Integer[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Paint wrong pixels red, correct pixels pale and IGNORE pixels hatched."""
    colours = np.array([RIGHT, WRONG], np.uint8)[(label != prediction).astype(np.int64)]
    return np.where((label == IGNORE)[..., None], _hatching(*label.shape), colours)


def uncertainty_map(variance: Float[np.ndarray, "h w"], classes: int) -> Float[np.ndarray, "h w"]:
    """Convert the variance of sampled probabilities to grey: white if samples agree, dark if not (Kendall et al. 2015, figure 1).

    Grey is linear in the standard deviation, from 0 to its largest possible value, so that pictures are comparable. The largest
    variance, as a mean over k classes, is (1 - 1 / k) / k: confident samples spread evenly over the classes.
    """
    largest = (1 - 1 / classes) / classes
    return 1 - np.sqrt(np.clip(variance / largest, 0, 1))


def heat(values: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Map values in 0..1 to colours, from black through red to pale yellow."""
    stops = np.array([(0, 4, 9, 23), (0.3, 92, 22, 92), (0.6, 214, 72, 62), (0.85, 250, 168, 70), (1, 252, 248, 200)], float)
    clipped = np.clip(np.nan_to_num(values), 0, 1)
    return np.stack([np.interp(clipped, stops[:, 0], stops[:, channel]) for channel in (1, 2, 3)], axis=-1).astype(np.uint8)


def as_rgb(image: Any) -> UInt8[np.ndarray, "h w 3"]:
    """Convert an array [h w] or [h w c], uint8, uint16 or float in [0, 1], to RGB: grey or the first three channels; NaN is black."""
    array = np.asarray(image)
    if array.dtype == np.uint16:
        array = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if array.dtype != np.uint8:
        array = np.round(255 * np.clip(np.nan_to_num(array.astype(np.float32)), 0, 1)).astype(np.uint8)
    array = array[..., None] if array.ndim == 2 else array
    return np.ascontiguousarray(array[..., :3]) if array.shape[-1] >= 3 else np.repeat(array[..., :1], 3, axis=-1)


def panel(
    columns: Mapping[str, Any],
    path: str | os.PathLike[str] = "",
    classes: Sequence[Class] = (),
    names: Sequence[str] = (),
    title: str = "",
    errors: tuple[str, str] | tuple[()] = (),
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw a table of pictures: a titled column per array, a row per record under its name, and a legend of the classes.

    columns  arrays [b h w c] (uint8, or float in [0, 1]) and integer label maps [b h w], in order of display; or lists of such
             arrays without b, whose sizes and kinds may differ
    path     file to write as PNG; its folder is created
    errors   two columns, such as ("label", "prediction"): adds a column that shows where they differ

    The largest image sets the size of the cells. Small images are enlarged by an integer factor, so that pixels stay square.
    """
    arrays = {name: [np.asarray(one) for one in column] for name, column in columns.items()}
    rows = min((len(column) for column in arrays.values()), default=0)
    maps = [one for column in arrays.values() for one in column[:rows] if _is_label(one)]
    if errors:
        arrays["errors"] = [error_map(*pair) for pair in zip(arrays[errors[0]], arrays[errors[1]], strict=True)]
    sizes = [one.shape[:2] for column in arrays.values() for one in column]
    cell = _cell(max(sizes, key=max), len(arrays)) if rows else (1, 1)
    heights = [max(_fitted(column[row], cell)[1] for column in arrays.values()) for row in range(rows)]
    entries = _legend(classes, maps, bool(errors))

    heading, naming = _font(17), _font(14)
    inner = max(len(arrays) * (cell[1] + GAP) - GAP, 240, math.ceil(_font(22).getlength(title)))
    legend_rows = _wrapped(entries, inner, naming)
    name_height = 24 if names else 0
    height = (44 if title else 0) + 32 + sum(heights) + rows * (name_height + GAP)
    height += 14 + 26 * len(legend_rows) if entries else 0
    picture = Image.new("RGB", (inner + 2 * MARGIN, height + 2 * MARGIN - GAP), PAPER)
    draw = ImageDraw.Draw(picture)

    y = MARGIN
    if title:
        draw.text((MARGIN, y), title, INK, _font(22))
        y += 44
    for column, name in enumerate(arrays):
        draw.text((MARGIN + column * (cell[1] + GAP), y), _shortened(name, heading, cell[1]), INK, heading)
    y += 32
    for row in range(rows):
        if names:
            draw.text((MARGIN, y), _shortened(str(names[row]), naming, inner), QUIET, naming)
            y += name_height
        for column, array in enumerate(arrays.values()):
            shown = _label_cell(array[row], classes, cell) if _is_label(array[row]) else _image_cell(array[row], cell)
            picture.paste(shown, (MARGIN + column * (cell[1] + GAP), y))
        y += heights[row] + GAP
    if entries:
        draw.line((MARGIN, y, MARGIN + inner, y), RULE)
        y += 14
    for line in legend_rows:
        for x, name, colour in line:
            _swatch(picture, (MARGIN + x, y + 2), colour)
            draw.text((MARGIN + x + 24, y), name, INK, naming)
        y += 26
    if path:
        _write(picture, path)
    return np.asarray(picture)


def write_label(path: str | os.PathLike[str], label: Integer[np.ndarray, "h w"], classes: Sequence[Class] = ()) -> None:
    """Write a label map as an 8-bit palette PNG, with ids as indices and the colours of the classes as palette."""
    picture = Image.fromarray(np.ascontiguousarray(label, dtype=np.uint8), mode="L")
    picture.putpalette(palette(classes).tobytes())
    _write(picture, path)


def write_image(path: str | os.PathLike[str], image: Any) -> None:
    """Write an array as an RGB file; see `as_rgb`."""
    _write(Image.fromarray(as_rgb(image)), path)


def _write(picture: Image.Image, path: str | os.PathLike[str]) -> None:
    kind = Image.registered_extensions()[os.path.splitext(path)[1].lower()]
    small = picture.width * picture.height <= 2**24
    with files.replacing(os.fspath(path)) as temporary:
        # Optimising is slow for photographs, with little gain; so is compressing a large picture well.
        picture.save(temporary, kind, optimize=picture.mode == "P" and small, compress_level=6 if small else 1)


def _is_label(array: np.ndarray) -> bool:
    return array.ndim == 2 and (np.issubdtype(array.dtype, np.integer) or array.dtype == np.bool_)


def _cell(size: tuple[int, ...], columns: int) -> tuple[int, int]:
    """Return the height and width to show an image of `size`: enlarged by an integer factor, or shrunk to fit."""
    limit = min(LARGEST, (WIDTH - GAP * (columns - 1)) // columns)
    longest = max(size)
    if longest > limit:
        return max(1, round(size[0] * limit / longest)), max(1, round(size[1] * limit / longest))
    factor = min(math.ceil(SMALLEST / longest), max(1, limit // longest))
    return size[0] * factor, size[1] * factor


def _image_cell(image: np.ndarray, cell: tuple[int, int]) -> Image.Image:
    picture, size = Image.fromarray(as_rgb(image)), _fitted(image, cell)
    enlarged = picture.width <= size[0]
    return picture.resize(size, Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS)


def _label_cell(label: np.ndarray, classes: Sequence[Class], cell: tuple[int, int]) -> Image.Image:
    # Resize before colouring, so that the hatching has the same width in every picture.
    ids = Image.fromarray(np.clip(label, 0, 255).astype(np.uint8)).resize(_fitted(label, cell), Image.Resampling.NEAREST)
    return Image.fromarray(colour_label(np.asarray(ids), classes))


def _fitted(array: np.ndarray, cell: tuple[int, int]) -> tuple[int, int]:
    """Return the largest width and height of the array's picture that fit the cell."""
    factor = min(cell[0] / array.shape[0], cell[1] / array.shape[1])
    return max(1, round(array.shape[1] * factor)), max(1, round(array.shape[0] * factor))


def _legend(classes: Sequence[Class], maps: Sequence[np.ndarray], errors: bool) -> list[tuple[str, Any]]:
    """Return names and colours; of more than 24 classes, only those in the maps."""
    present = set(np.unique(np.concatenate([array.ravel() for array in maps])).tolist()) if maps else set()
    colours = [tuple(int(value) for value in colour) for colour in palette(classes)]
    entries: list[tuple[str, Any]] = []
    if maps:
        shown = [index for index in range(len(classes)) if len(classes) <= 24 or index in present]
        entries += [(classes[index].name, colours[index]) for index in shown]
        entries += [(str(index), colours[index]) for index in sorted(present) if len(classes) <= index < IGNORE]
    if errors:
        entries.append(("wrong", WRONG))
    if IGNORE in present:
        entries.append(("ignored", "hatched"))
    return entries


def _wrapped(entries: Sequence[tuple[str, Any]], width: int, font: Any) -> list[list[tuple[int, str, Any]]]:
    """Break the legend into lines of (x, name, colour)."""
    lines: list[list[tuple[int, str, Any]]] = [[]]
    x = 0
    for name, colour in entries:
        needed = 24 + math.ceil(font.getlength(name))
        if lines[-1] and x + needed > width:
            lines.append([])
            x = 0
        lines[-1].append((x, name, colour))
        x += needed + 22
    return lines


def _swatch(picture: Image.Image, corner: tuple[int, int], colour: Any, size: int = 15) -> None:
    fill = Image.fromarray(_hatching(size, size)) if colour == "hatched" else Image.new("RGB", (size, size), colour)
    rounded = Image.new("L", (4 * size, 4 * size), 0)  # drawn large and shrunk, for smooth corners
    ImageDraw.Draw(rounded).rounded_rectangle((0, 0, 4 * size - 1, 4 * size - 1), 14, 255)
    picture.paste(fill, corner, rounded.resize((size, size), Image.Resampling.LANCZOS))
    if colour != "hatched" and min(ImageColor.getrgb(colour) if isinstance(colour, str) else colour) > 225:  # white on white
        x, y = corner
        ImageDraw.Draw(picture).rounded_rectangle((x, y, x + size - 1, y + size - 1), 3, outline=QUIET)


def _hatching(height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    stripe = (np.add.outer(np.arange(height), np.arange(width)) % 8) < 3
    return np.where(stripe[..., None], np.uint8(190), np.uint8(246)).repeat(3, axis=-1)


def _boundaries(label: np.ndarray) -> np.ndarray:
    """Mark pixels whose right or lower neighbour has another label."""
    boundary = np.zeros(label.shape, bool)
    boundary[:, :-1] |= label[:, :-1] != label[:, 1:]
    boundary[:-1] |= label[:-1] != label[1:]
    return boundary


def _shortened(text: str, font: Any, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


@functools.cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size=size)
