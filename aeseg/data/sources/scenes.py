"""Procedural scenes: shapes of any colour on a textured background.  The built-in data set; it needs no files.

Only shape distinguishes the seven shapes and the background: the colours and textures of all objects and of the background come from
one distribution.  Lighting gradients, occlusion, scale, aspect, rotation and noise require a network with a receptive field of about
30 pixels at 64x64; objects grow with the image.
"""

import zlib
from dataclasses import dataclass
from typing import Any, ClassVar, SupportsIndex

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8
from ml_collections import ConfigDict

from aeseg.data import narration
from aeseg.spec import spec
from aeseg.types import Class, UserError

CLASSES = (
    Class("background", (38, 42, 54)),
    Class("disc", (240, 84, 84)),
    Class("ring", (247, 168, 62)),
    Class("triangle", (250, 227, 92)),
    Class("square", (104, 196, 106)),
    Class("star", (72, 202, 214)),
    Class("cross", (82, 128, 238)),
    Class("crescent", (190, 110, 226)),
)
SPLITS = ("train", "validation", "test")
RADIUS = (0.16, 0.30)
"""Smallest and largest radius of an object, in units of the image's shorter side: 20 to 38 pixels across at 64x64."""
OBJECT_TEXTURE = 0.4
"""Contrast of an object's texture relative to the background's texture."""

_SUPERSAMPLING = 4
_FIXED = 4  # fractional bits of the vertices handed to cv2


@dataclass(frozen=True)
class Scenes:
    """`records` scenes of height x width: image uint8 [h w 3], label uint8 [h w], depth float32 [h w], name.

    A record is a pure function of (seed, split, index, height, width), the same on every machine; the splits share no record.
    Depth is 1 for the background and in (0, 1) for objects; nearer objects occlude farther objects.
    `caption` adds a description as bytes, uint8 [160]; `sound` adds one second of stereo, float32 [16000 2] (aeseg/data/narration.py).
    """

    GENERATED: ClassVar = True
    """Labels need no check before a run: they are right by construction."""

    split: str = "train"
    records: int = 4096
    height: int = 64
    width: int = 64
    seed: int = 0
    caption: bool = False
    sound: bool = False

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise UserError(f"Scenes has the splits {', '.join(SPLITS)}; got {self.split!r}. Name one of these.")
        if not 0 <= self.records < 2**32:
            raise UserError(f"Scenes needs 0 <= records < 2**32; got {self.records}.")
        if min(self.height, self.width) < 16:
            raise UserError(f"Scenes needs images of at least 16x16; got {self.height}x{self.width}. Smaller shapes look alike.")
        if self.seed < 0:
            raise UserError(f"Scenes needs a seed >= 0; got {self.seed}.")

    @property
    def classes(self) -> tuple[Class, ...]:
        return CLASSES

    def __len__(self) -> int:
        return self.records

    def __getitem__(self, index: SupportsIndex) -> dict[str, Any]:
        index = index.__index__()
        if not 0 <= index < self.records:
            raise IndexError(f"Scenes has the records 0..{self.records - 1}; got {index}.")
        rng = np.random.default_rng((self.seed, zlib.crc32(self.split.encode()), index))
        image, label, depth = paint(rng, self.height, self.width)
        record = {"image": image, "label": label, "depth": depth, "name": f"{self.split}-{index:06d}"}
        if self.caption or self.sound:
            objects = narration.shapes(label, depth)
            record |= {"caption": narration.as_bytes(narration.caption(objects, CLASSES))} if self.caption else {}
            record |= {"sound": narration.sound(objects)} if self.sound else {}
        return record


def recipe(size: str = "small") -> ConfigDict:
    """Return the source of a size: `tiny` for tests, or `small`, the default of the main job."""
    sizes = {"tiny": {"records": 16, "height": 32, "width": 32}, "small": {}}
    if size not in sizes:
        raise UserError(f"Scenes has the sizes {', '.join(sizes)}; got {size!r}.")
    return spec(Scenes, **sizes[size])


def paint(
    rng: np.random.Generator, height: int, width: int
) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """Paint one scene (image, label, depth), from the farthest object to the nearest."""
    side = min(height, width)
    objects = int(rng.integers(2, 6))
    colours = _colours(rng, objects + 1)
    kinds = rng.integers(1, len(CLASSES), objects)
    cells = rng.permutation(9)[:objects]  # spread over a 3x3 grid, so that few objects are completely hidden
    drawn = rng.random((objects, 5))
    depths = np.sort(rng.uniform(0.1, 0.9, objects))[::-1]

    colours[1:, 1] += (colours[1:, 0] - colours[1:, 1]) * np.float32(1 - OBJECT_TEXTURE)
    image = _texture(rng, colours[0], height, width, side)  # channels first until the end: NumPy broadcasts it faster
    label = np.zeros((height, width), np.uint8)
    depth = np.ones((height, width), np.float32)
    for colour, kind, cell, u, far in zip(colours[1:], kinds, cells, drawn, depths, strict=True):
        centre = np.array([(cell % 3 + u[0]) * width, (cell // 3 + u[1]) * height]) * 0.3 + [0.05 * width, 0.05 * height]
        radius = side * (RADIUS[0] + (RADIUS[1] - RADIUS[0]) * u[2])
        alpha, rows, columns = _coverage(_SHAPES[kind], centre, radius, turn=u[3], aspect=0.8 + 0.4 * u[4], height=height, width=width)
        shown = alpha >= 128
        label[rows, columns][shown] = kind
        depth[rows, columns][shown] = far
        below = image[:, rows, columns]
        h, w = alpha.shape
        below += (_texture(rng, colour, h, w, side) - below) * (alpha * np.float32(1 / 255))

    tilt = rng.uniform(-0.35, 0.35, 2)
    image *= 1 + _ramp(height, tilt[0])[:, None] + _ramp(width, tilt[1])[None]  # light
    image += rng.integers(0, 2 * rng.integers(3, 13), image.shape, dtype=np.uint8)
    image -= 7  # the mean of the noise over all scenes
    np.minimum(np.maximum(image, 0, out=image), 255, out=image)
    return np.ascontiguousarray(image.astype(np.uint8).transpose(1, 2, 0)), label, depth


def _ramp(length: int, tilt: float) -> Float32[np.ndarray, "l"]:
    return (np.arange(length, dtype=np.float32) + 0.5) / np.float32(length) * np.float32(2 * tilt) - np.float32(tilt)


def _colours(rng: np.random.Generator, regions: int) -> Float32[np.ndarray, "regions 2 3"]:
    """Draw two related colours for each region, 0..255; hues and brightnesses are spread over the regions, in random order.

    Every region's colour has the same distribution, so colour carries no information about the class.
    """
    u = rng.random((5, regions))
    hue = (rng.permutation(regions) + u[0]) / regions
    value = 0.35 + 0.6 * (rng.permutation(regions) + u[1]) / regions
    second = np.clip(value + np.where(u[2] < 0.5, -1, 1) * (0.05 + 0.2 * u[3]), 0.15, 1)
    saturation = 0.15 + 0.7 * u[4]
    sector = (np.array([5, 3, 1]) + np.stack([hue, hue + 0.06], axis=1)[..., None] * 6) % 6
    shade = np.clip(np.minimum(sector, 4 - sector), 0, 1) * saturation[:, None, None]  # hue, saturation, value to RGB
    return (255 * np.stack([value, second], axis=1)[..., None] * (1 - shade)).astype(np.float32)


def _texture(
    rng: np.random.Generator, colours: Float32[np.ndarray, "2 3"], height: int, width: int, side: int
) -> Float32[np.ndarray, "3 h w"]:
    """Mix two colours in stripes, checks or clouds, whose grain is relative to `side`, the image's shorter side."""
    kind = rng.integers(3)
    u = rng.random(4).astype(np.float32)
    if kind == 2:
        grid = rng.integers(0, 256, (2 + 8 * height // side, 2 + 8 * width // side), dtype=np.uint8)
        mix = cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR_EXACT) * np.float32(1 / 255)
    else:
        x, y = (np.arange(n, dtype=np.float32) for n in (width, height))
        turn, pitch = 2 * u[0] - 1, (5 + 9 * u[1]) / np.float32(side)  # 5 to 14 cycles across the image
        along, across = (1 - abs(turn)) * pitch, turn * pitch
        mix = _wave(along * x[None] + across * y[:, None] + u[2])
        if kind == 1:
            mix = np.abs(mix - _wave(along * y[:, None] - across * x[None] + u[3]))
    return colours[0][:, None, None] + mix * (colours[1] - colours[0])[:, None, None]


def _wave(phase: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Return a soft square wave of period 1 between 0 and 1.  A sine would differ between machines in its last bit."""
    phase = phase - np.floor(phase)
    return np.minimum(np.maximum(4 * np.abs(phase - np.float32(0.5)) - np.float32(0.5), 0), 1)


def _coverage(
    contours: tuple[np.ndarray, ...], centre: np.ndarray, radius: float, turn: float, aspect: float, height: int, width: int
) -> tuple[UInt8[np.ndarray, "r c"], slice, slice]:
    """Return a shape's coverage of each pixel, 0..255, and the rows and columns of its bounding box inside the image."""
    cosine, sine = np.cos(2 * np.pi * turn) * radius, np.sin(2 * np.pi * turn) * radius
    matrix = np.array([[cosine, sine], [-sine * aspect, cosine * aspect]])
    turned = [c[:, :1] * matrix[0] + c[:, 1:] * matrix[1] + centre for c in contours]
    low = np.maximum(np.floor(turned[0].min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(turned[0].max(axis=0)).astype(int), (width, height))
    fine = np.zeros((high - low)[::-1] * _SUPERSAMPLING, np.uint8)
    vertices = [np.rint(((c - low) * _SUPERSAMPLING - 0.5) * 2**_FIXED).astype(np.int32) for c in turned]
    cv2.fillPoly(fine, vertices, 255, shift=_FIXED)  # even-odd: a second contour is a hole
    alpha = cv2.resize(fine, (high - low).tolist(), interpolation=cv2.INTER_AREA)
    return alpha, slice(low[1], high[1]), slice(low[0], high[0])


def _arc(radius: float, start: float, stop: float, points: int = 40) -> np.ndarray:
    angle = np.linspace(start, stop, points) * np.pi
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _polygon(*radii: float) -> np.ndarray:
    """Return corners at equal angles, with the radii in turn."""
    angle = np.arange(len(radii)) * 2 * np.pi / len(radii)
    return np.array(radii)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _crescent() -> np.ndarray:
    """Return a disc minus a disc of radius .85 centred .45 to the right, moved so that its bounding box is centred."""
    tip = np.arccos((1 + 0.45**2 - 0.85**2) / (2 * 0.45)) / np.pi  # where the circles meet, seen from the first
    inner = np.arctan2(np.sin(tip * np.pi), np.cos(tip * np.pi) - 0.45) / np.pi  # and from the second
    outside = _arc(1.0, tip, 2 - tip)
    inside = _arc(0.85, 2 - inner, inner) + np.array([0.45, 0])
    return np.concatenate([outside, inside]) + np.array([0.25, 0])


_CROSS = [(1, 3), (1, 1), (3, 1), (3, -1), (1, -1), (1, -3), (-1, -3), (-1, -1), (-3, -1), (-3, 1), (-1, 1), (-1, 3)]
_SHAPES = (  # by class; outlines of about radius 1
    (),
    (_arc(0.9, 0.0, 2.0),),
    (_arc(1.0, 0.0, 2.0), _arc(0.55, 0.0, 2.0)),
    (_polygon(1.1, 1.1, 1.1),),
    (np.array([(0.8, 0.8), (-0.8, 0.8), (-0.8, -0.8), (0.8, -0.8)]),),
    (_polygon(*(1.15, 0.5) * 5),),
    (np.array(_CROSS) / 3,),
    (_crescent(),),
)
