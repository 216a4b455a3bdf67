"""Suggested training settings for a data set, each with a value and a reason."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from aeseg.data.checks import Counts

RARE = 0.05
"""Fraction below which a class is rare."""


class Suggestion(NamedTuple):
    """A setting, its value as text, and the reason."""

    name: str
    value: str
    reason: str


def suggested(sizes: Sequence[tuple[int, int]], train: int, counts: Counts | None, names: Sequence[str]) -> list[Suggestion]:
    """Suggest window, batch and steps, and by class fractions loss and weights; `sizes`: (height, width); `train`: training images."""
    short = int(np.median([min(size) for size in sizes]))
    side = int(np.clip(short // 32 * 32, 32, 256))
    batch = int(np.clip(2 ** int(np.log2(max(1, 16 * 128 * 128 / side**2))), 4, 16))
    crops = float(np.mean([max(1, h * w / side**2) for h, w in sizes]))
    steps = int(np.clip(round(60 * train * min(crops, 16) / batch, -2), 500, 20_000))
    suggestions = [
        Suggestion(
            "window",
            f"({side}, {side})",
            f"the median shorter side is {short} px; a multiple of 32, at most 256, crops at the images' own scale",
        ),
        Suggestion("batch_size", f"{batch}", f"about 16 x 128 x 128 pixels a step, for {side}x{side} windows"),
        Suggestion("steps", f"{steps}", f"about 60 passes over {train} training images of {crops:.1f} windows each, within 500 and 20,000"),
    ]
    if counts is None or not counts.pixels.sum():
        return suggestions
    shares = counts.pixels / counts.pixels.sum()
    rarest = int(np.argmin(np.where(shares > 0, shares, np.inf)))
    if shares[rarest] < RARE:
        reason = f"{names[rarest]} has {100 * shares[rarest]:.2g} % of the labelled pixels"
        suggestions += [
            Suggestion("class_weights", "median_frequency", f"{reason}; median-frequency weights make it count"),
            Suggestion("loss", "cross-entropy + Dice", f"{reason}; Dice counts each class alike, whatever its size"),
        ]
    else:
        suggestions.append(
            Suggestion(
                "class_weights", "none", f"the rarest class, {names[rarest]}, has {100 * shares[rarest]:.1f} % of the labelled pixels"
            )
        )
    return suggestions
