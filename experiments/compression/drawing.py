"""Pictures of `compress --table`: curves of quality over rate, and images decoded by each coder at a similar rate."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aeseg import files
from aeseg.inference import draw
from aeseg.types import UserError

from .measures import Point

ROWS, SIDE = 3, 224
"""Number of images in the comparison, and side in pixels of the central square that it shows."""


def curves(path: str, points: Sequence[Point]) -> None:
    """Draw PSNR and MS-SSIM over bits per pixel, a curve for each coder."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("The curves need matplotlib, which is not installed. Install it: pip install -e '.[compress]'.") from None
    figure = Figure(figsize=(9, 4), dpi=120, layout="constrained")
    for axes, (metric, label) in zip(figure.subplots(1, 2), (("psnr", "PSNR, dB"), ("ms_ssim", "MS-SSIM")), strict=True):
        for coder in dict.fromkeys(point.coder for point in points):
            curve = sorted((point.bits, getattr(point, metric)) for point in points if point.coder == coder)
            axes.plot([bits for bits, _ in curve], [value for _, value in curve], marker="o", markersize=3, label=coder)
        axes.set(xlabel="bits per pixel (real files)", ylabel=label, xscale="log")
        axes.grid(alpha=0.3)
    axes.legend()
    with files.replacing(path) as temporary:
        figure.savefig(temporary, format=path.rpartition(".")[2])


def comparison(path: str, examples: Sequence[Mapping[str, Any]], points: Sequence[Point], networks: Sequence[str]) -> None:
    """Draw the centre of each image, decoded by the network with the lowest rate, and by JPEG and WebP at the nearest rate."""
    lowest = min((point for point in points if point.coder in networks and point.setting == 1), key=lambda point: point.bits)
    nearest = {
        coder: min((point for point in points if point.coder == coder), key=lambda point: abs(point.bits - lowest.bits)).setting
        for coder in dict.fromkeys(point.coder for point in points)
        if coder not in networks
    }
    settings = {**nearest, lowest.coder: lowest.setting}
    columns: dict[str, list[np.ndarray]] = {"image": [_centre(row["image"]) for row in examples]}
    for coder, setting in settings.items():
        columns[coder] = [_centre(row["decoded"][coder, setting][1]) for row in examples]
    draw.panel(columns, path, names=[f"{row['name']}: {_sizes(row, settings)}" for row in examples])


def _sizes(row: Mapping[str, Any], settings: Mapping[str, float]) -> str:
    pixels = row["image"].shape[0] * row["image"].shape[1]
    return ", ".join(f"{coder} {8 * row['decoded'][coder, setting][0] / pixels:.3f} bits per pixel" for coder, setting in settings.items())


def _centre(image: np.ndarray) -> np.ndarray:
    top, left = (max(0, (side - SIDE) // 2) for side in image.shape[:2])
    return image[top : top + SIDE, left : left + SIDE]
