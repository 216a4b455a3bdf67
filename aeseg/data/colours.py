"""Colour transforms of the image.  Label and depth are unchanged."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Shaped, UInt8

from aeseg.data.records import Record
from aeseg.data.transforms import check_probability
from aeseg.types import UserError


@dataclass(frozen=True)
class PhotometricJitter:
    """Random brightness, contrast, saturation and hue, in this order.

    The first three are factors drawn from 1 - value to 1 + value.  The hue turns by at most the fraction `hue` of the colour circle.
    Contrast changes around the image's mean grey.  Saturation and hue change only images with 3 channels.
    16-bit images become 8-bit images.

    brightness, contrast, saturation   largest deviation of the factor from 1
    """

    brightness: float = 0.25
    contrast: float = 0.25
    saturation: float = 0.25
    hue: float = 0.05

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"PhotometricJitter needs 0 <= {name} <= 1; got {getattr(self, name)}.")
        if not 0 <= self.hue <= 0.5:
            raise UserError(f"PhotometricJitter needs 0 <= hue <= 0.5 (half the colour circle); got {self.hue}.")

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        brightness, contrast, saturation = 1 + rng.uniform(-1, 1, 3) * [self.brightness, self.contrast, self.saturation]
        turn = rng.uniform(-self.hue, self.hue)
        image: Any = eight_bits(record["image"])
        mean = image.mean() * brightness
        table = (np.arange(256) * brightness - mean) * contrast + mean
        image = cv2.LUT(np.ascontiguousarray(image), _rounded(table)).reshape(image.shape)
        if image.shape[-1] == 3 and self.saturation > 0:
            grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
            image = cv2.addWeighted(image, saturation, grey, 1 - saturation, 0)
        if image.shape[-1] == 3 and self.hue > 0:
            hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
            hsv[..., 0] += np.uint8(round(turn * 256) % 256)  # the hue is an angle: it wraps around
            image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)
        return {**record, "image": image}


@dataclass(frozen=True)
class GaussianBlur:
    """Blur the image with this probability; the standard deviation is drawn from `smallest` to `largest` pixels."""

    probability: float = 0.5
    smallest: float = 0.1
    largest: float = 2.0

    def __post_init__(self) -> None:
        check_probability(self, self.probability)
        if not 0 < self.smallest <= self.largest:
            raise UserError(f"GaussianBlur needs 0 < smallest <= largest; got {self.smallest} and {self.largest}.")

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        deviation = rng.uniform(self.smallest, self.largest)
        if rng.random() >= self.probability:
            return record
        image = record["image"]
        return {**record, "image": cv2.GaussianBlur(image, (0, 0), deviation).reshape(image.shape)}


@dataclass(frozen=True)
class LocalContrast:
    """Replace the image by its local contrast (`images.local_contrast`, `sigma` in pixels), for encoders that do not compute it.

    The transform is deterministic.  Put it in data.transforms and data.evaluation_transforms, so that `evaluate` and `predict` use it too.
    Images become uint8: -`largest` becomes 0, `largest` becomes 255, values beyond are clipped.  An encoder with mean 0.5 and std
    0.5 / largest (0.125) then recovers the contrast, up to rounding (1/64).
    """

    sigma: float = 3.0
    largest: float = 4.0

    def __post_init__(self) -> None:
        if not (self.sigma > 0 and self.largest > 0):
            raise UserError(f"LocalContrast needs a sigma and a largest contrast above 0; got {self.sigma} and {self.largest}.")

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        image = record["image"].astype(np.float32) / np.iinfo(record["image"].dtype).max
        difference = image - self._around(image)
        deviation = np.sqrt(self._around(np.square(difference)) + 1e-8)
        contrast = difference / np.maximum(deviation, deviation.mean())
        return {**record, "image": _rounded(127.5 * (1 + contrast / self.largest))}

    def _around(self, values: Float[np.ndarray, "h w c"]) -> Float[np.ndarray, "h w 1"]:
        """Return the mean of the channels, blurred as in `images.blurred`."""
        taps = 2 * max(1, int(np.ceil(3 * self.sigma))) + 1
        return cv2.GaussianBlur(values.mean(axis=-1), (taps, taps), self.sigma, borderType=cv2.BORDER_REPLICATE)[..., None]


def eight_bits(image: Shaped[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w c"]:
    """Convert an image to 8 bits; 16-bit values v become v / 257, rounded."""
    return image if image.dtype == np.uint8 else ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _rounded(values: np.ndarray) -> UInt8[np.ndarray, "..."]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
