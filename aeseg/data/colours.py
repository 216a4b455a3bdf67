"""Transforms of the image's colours alone: the label and the depth stay as they are."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8

from aeseg.data.records import Record
from aeseg.data.transforms import check_probability
from aeseg.types import UserError


@dataclass(frozen=True)
class PhotometricJitter:
    """Random brightness, contrast, saturation and hue, in this order.

    The first three are factors drawn from 1 - value to 1 + value; the hue is turned by at most `hue` of the colour circle.
    Contrast is about the image's mean grey.  Saturation and hue need colour: images of other than 3 channels keep theirs.
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
        image = record["image"]
        mean = image.mean() * brightness
        table = (np.arange(256) * brightness - mean) * contrast + mean
        image = cv2.LUT(np.ascontiguousarray(image), _rounded(table)).reshape(image.shape)
        if image.shape[-1] == 3 and self.saturation > 0:
            grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
            image = cv2.addWeighted(image, saturation, grey, 1 - saturation, 0)
        if image.shape[-1] == 3 and self.hue > 0:
            hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
            hsv[..., 0] += np.uint8(round(turn * 256) % 256)  # wraps around, as the circle does
            image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)
        return {**record, "image": image}


@dataclass(frozen=True)
class GaussianBlur:
    """Blurs the image with this probability; the standard deviation is drawn from `smallest` to `largest` pixels."""

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


def _rounded(table: np.ndarray) -> UInt8[np.ndarray, "256"]:
    return np.clip(np.rint(table), 0, 255).astype(np.uint8)
