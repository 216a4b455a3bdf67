"""Geometric transforms of image, label and depth together.  Labels are sampled nearest; pixels from outside the image are IGNORE.

A transform takes all randomness from its generator and returns a new record; `name` and other values that are not arrays are
unchanged.  Sizes are height, width.  Colour transforms are in colours.py.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Shaped

from aeseg.data.records import BESIDE, Record, is_aligned
from aeseg.types import IGNORE, UserError

Pixels = Shaped[np.ndarray, "_ _ ..."]


@dataclass(frozen=True)
class Resize:
    """Resize to height x width: the image by area along axes that shrink and bilinearly along axes that grow, other arrays nearest."""

    height: int
    width: int

    def __post_init__(self) -> None:
        _check_size(self)

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        return resized(record, self.height, self.width)


@dataclass(frozen=True)
class RandomScale:
    """Resize by a random factor between `low` and `high`, with the same aspect (Chen et al. 2018, section 4.1)."""

    low: float = 0.5
    high: float = 2.0

    def __post_init__(self) -> None:
        _check_interval(self, "low", self.low, "high", self.high)

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        scale = rng.uniform(self.low, self.high)
        height, width = record["image"].shape[:2]
        return resized(record, max(1, round(height * scale)), max(1, round(width * scale)))


@dataclass(frozen=True)
class RandomCrop:
    """Crop a random window of height x width.  A smaller image is put at a random position on 0 and IGNORE."""

    height: int
    width: int

    def __post_init__(self) -> None:
        _check_size(self)

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        top, left = (
            int(rng.integers(min(0, present - wanted), max(0, present - wanted) + 1))
            for present, wanted in zip(record["image"].shape, (self.height, self.width), strict=False)
        )
        return window(record, top, left, self.height, self.width)


@dataclass(frozen=True)
class CenterCrop:
    """Crop the central window of height x width.  A smaller image is surrounded by 0 and IGNORE."""

    height: int
    width: int

    def __post_init__(self) -> None:
        _check_size(self)

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        height, width = record["image"].shape[:2]
        return window(record, (height - self.height) // 2, (width - self.width) // 2, self.height, self.width)


@dataclass(frozen=True)
class RandomResizedCrop:
    """Crop a random part of the image and resize it to height x width (Szegedy et al. 2015, section 6).

    The part's area is between `smallest` and `largest` times the image's area.  Its aspect (width / height) is the result's aspect
    times a factor between 1 / `stretch` and `stretch`.  After ten parts that do not fit, the largest central part is taken.
    """

    height: int
    width: int
    smallest: float = 0.25
    largest: float = 1.0
    stretch: float = 1.33

    def __post_init__(self) -> None:
        _check_size(self)
        _check_interval(self, "smallest", self.smallest, "largest", self.largest, limit=1.0)
        _check_interval(self, "1", 1.0, "stretch", self.stretch)

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        height, width = record["image"].shape[:2]
        for _ in range(10):
            area = rng.uniform(self.smallest, self.largest) * height * width
            aspect = self.width / self.height * self.stretch ** rng.uniform(-1, 1)
            rows, columns = max(1, round((area / aspect) ** 0.5)), max(1, round((area * aspect) ** 0.5))
            if rows <= height and columns <= width:
                top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
                break
        else:
            rows = min(height, max(1, round(width * self.height / self.width)))
            columns = min(width, max(1, round(height * self.width / self.height)))
            top, left = (height - rows) // 2, (width - columns) // 2
        return resized(window(record, top, left, rows, columns), self.height, self.width)


@dataclass(frozen=True)
class Pad:
    """Pad with 0 and IGNORE at the bottom and right, to at least height x width; larger images are unchanged."""

    height: int
    width: int

    def __post_init__(self) -> None:
        _check_size(self)

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        height, width = record["image"].shape[:2]
        return window(record, 0, 0, max(height, self.height), max(width, self.width))


@dataclass(frozen=True)
class PadToMultiple:
    """Pad with 0 and IGNORE at the bottom and right, to the next `multiple` (such as the encoder's coarsest stride)."""

    multiple: int

    def __post_init__(self) -> None:
        if self.multiple < 1:
            raise UserError(f"PadToMultiple needs a multiple of at least 1; got {self.multiple}.")

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        height, width = record["image"].shape[:2]
        return window(record, 0, 0, height + -height % self.multiple, width + -width % self.multiple)


@dataclass(frozen=True)
class HorizontalFlip:
    """Flip left and right, with this probability."""

    probability: float = 0.5

    def __post_init__(self) -> None:
        check_probability(self, self.probability)

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        _check_says_no_place(self, record)
        return _mapped(record, lambda pixels, _: cv2.flip(pixels, 1)) if rng.random() < self.probability else record


@dataclass(frozen=True)
class VerticalFlip:
    """Flip top and bottom, with this probability; for images without an upright direction, such as microscope or satellite images."""

    probability: float = 0.5

    def __post_init__(self) -> None:
        check_probability(self, self.probability)

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        _check_says_no_place(self, record)
        return _mapped(record, lambda pixels, _: cv2.flip(pixels, 0)) if rng.random() < self.probability else record


@dataclass(frozen=True)
class RandomRotate:
    """Rotate about the centre by a random angle of up to `degrees` either way.  The size stays; the corners become 0 and IGNORE."""

    degrees: float = 10.0

    def __post_init__(self) -> None:
        if not 0 <= self.degrees <= 180:
            raise UserError(f"RandomRotate needs 0 <= degrees <= 180; got {self.degrees}.")

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        height, width = record["image"].shape[:2]
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), rng.uniform(-self.degrees, self.degrees), 1)

        def rotated(pixels: Pixels, key: str) -> Pixels:
            how = cv2.INTER_LINEAR if key == "image" else cv2.INTER_NEAREST
            return cv2.warpAffine(pixels, matrix, (width, height), flags=how, borderMode=cv2.BORDER_CONSTANT, borderValue=_outside(key))

        return _mapped(record, rotated)


def resized(record: Record, height: int, width: int) -> Record:
    """Resize a record to height x width: the image by area along axes that shrink, then bilinearly, other arrays nearest."""
    present = record["image"].shape[:2]
    if present == (height, width):
        return record
    shrunk = min(width, present[1]), min(height, present[0])

    def changed(pixels: Pixels, key: str) -> Pixels:
        if key != "image":
            # INTER_NEAREST_EXACT samples at pixel centres, like the image's modes; INTER_NEAREST is half a pixel off.
            return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        # One axis at a time: INTER_AREA samples at pixel corners if the other axis grows.
        return cv2.resize(cv2.resize(pixels, shrunk, interpolation=cv2.INTER_AREA), (width, height), interpolation=cv2.INTER_LINEAR)

    return _mapped(record, changed)


def window(record: Record, top: int, left: int, height: int, width: int) -> Record:
    """Return the rows top..top+height and columns left..left+width; pixels outside the image are 0, in labels IGNORE."""
    rows, columns = record["image"].shape[:2]
    above, before = max(0, -top), max(0, -left)
    below, behind = max(0, top + height - rows), max(0, left + width - columns)

    def cut(pixels: Pixels, key: str) -> Pixels:
        part = pixels[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)]
        if above + below + before + behind == 0:
            return part
        around = ((above, below), (before, behind), *((0, 0),) * (pixels.ndim - 2))
        return np.pad(part, around, constant_values=_outside(key))

    return _mapped(record, cut)


def check_probability(transform: object, probability: float) -> None:
    if not 0 <= probability <= 1:
        raise UserError(f"{type(transform).__name__} needs 0 <= probability <= 1; got {probability}.")


def _check_says_no_place(transform: object, record: Record) -> None:
    """Raise UserError for a record whose caption or sound gives positions: the mirrored image would contradict them."""
    if beside := [key for key in BESIDE if key in record]:
        raise UserError(
            f"{type(transform).__name__} mirrors the image, but not its {' and '.join(beside)}, which would then name the wrong side. "
            f"Take {type(transform).__name__} out of --config.data.transforms."
        )


def _outside(key: str) -> int:
    return IGNORE if key == "label" else 0


def _mapped(record: Record, change: Callable[[Pixels, str], Pixels]) -> Record:
    """Apply `change` to every array of the record, given its key; restore a last axis of length 1, which cv2 drops."""
    changed = {}
    for key, value in record.items():
        if is_aligned(key, value):
            after = change(value, key)
            value = after if after.ndim == value.ndim else after[..., None]
        changed[key] = value
    return changed


def _check_size(transform: Resize | RandomCrop | CenterCrop | RandomResizedCrop | Pad) -> None:
    if min(transform.height, transform.width) < 1:
        raise UserError(f"{type(transform).__name__} needs a height and width of at least 1; got {transform.height}x{transform.width}.")


def _check_interval(transform: object, low_name: str, low: float, high_name: str, high: float, limit: float = np.inf) -> None:
    if not 0 < low <= high <= limit:
        bound = "" if limit == np.inf else f" <= {limit}"
        raise UserError(f"{type(transform).__name__} needs 0 < {low_name} <= {high_name}{bound}; got {low} and {high}.")
