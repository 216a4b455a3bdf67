"""Degrade clean images, restore them, and compare with the usual methods: mean PSNR and SSIM over the images."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from aeseg.data.survey import spread
from aeseg.inference import draw, restoration
from aeseg.inference.restoration import Degraded, Noise
from aeseg.runs.train import PICTURES
from aeseg.types import UserError

from . import rivals
from .rivals import Rival

OURS = "network"

SMALLEST = 11
"""Smallest height and width of an image: the window of SSIM."""

Scores = dict[str, dict[str, list[float]]]
"""{method: {"psnr": of each image, "ssim": of each image}}."""


def psnr(clean: np.ndarray, image: np.ndarray) -> float:
    """Return scikit-image's PSNR of 8-bit images, in dB; equal images count 100 dB, as in `metrics.psnr`."""
    from skimage.metrics import peak_signal_noise_ratio

    return 100.0 if np.array_equal(clean, image) else float(peak_signal_noise_ratio(clean, image, data_range=255))


def ssim(clean: np.ndarray, image: np.ndarray) -> float:
    """Return scikit-image's SSIM with the window of Wang et al. 2004."""
    from skimage.metrics import structural_similarity

    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(clean, image, data_range=255, channel_axis=-1, **window))


def compared(
    clean: Sequence[tuple[str, np.ndarray]],
    noise: Noise,
    seed: int,
    restore: Callable[[Degraded, str], np.ndarray],
    at: Callable[[int], None] = lambda done: None,
) -> tuple[Scores, dict[str, float], dict[str, list[np.ndarray]], list[str]]:
    """Degrade the clean images, (name, uint8 image), and restore them with `restore` and with the rivals.

    Return the scores of every method, the settings of the rivals, and the columns and row names of a picture.
    """
    methods = (rivals.unchanged(), *rivals.of_task(noise))
    methods = methods if restoration.factor(noise) == 1 else methods[1:]  # a shrunk image has another size

    def pair(index: int) -> tuple[str, np.ndarray, Degraded]:
        name, image = clean[index]
        image = restoration.fitting(image, noise)
        if image.dtype != np.uint8 or image.shape[-1] != 3:
            raise UserError(f"--table compares 8-bit RGB images; {name} has {image.shape[-1]} channels of {image.dtype}. Convert it.")
        if min(image.shape[:2]) < SMALLEST:
            h, w = image.shape[:2]
            raise UserError(f"{name} has {h}x{w} pixels; SSIM needs at least {SMALLEST}x{SMALLEST}. Remove it.")
        return name, image, restoration.degraded(image, noise, seed, index)

    tuned_on = spread(range(len(clean)), rivals.TUNED_ON)
    settings = {rival.name: rivals.tuned(rival, [pair(index)[1:] for index in tuned_on], psnr) for rival in methods}
    scores: Scores = {name: {"psnr": [], "ssim": []} for name in (OURS, *settings)}
    columns: dict[str, list[np.ndarray]] = {}
    shown, names = set(spread(range(len(clean)), PICTURES)), []
    for index in range(len(clean)):
        name, image, one = pair(index)
        results = {OURS: restore(one, name)} | {rival.name: rival.restore(one, settings[rival.name]) for rival in methods}
        for method, result in results.items():
            scores[method]["psnr"].append(psnr(image, result))
            scores[method]["ssim"].append(ssim(image, result))
        if index in shown:
            names.append(name)
            for column, picture in _row(image, one, results, methods).items():
                columns.setdefault(column, []).append(picture)
        at(index + 1)
    return scores, {rival.name: settings[rival.name] for rival in methods if len(rival.settings) > 1}, columns, names


def summary(scores: Scores) -> dict[str, dict[str, float]]:
    """Return the means of each method, the network's mean gain over it in dB, and the fraction of images on which the network is better."""
    ours = np.array(scores[OURS]["psnr"])
    means = {}
    for method, values in scores.items():
        gain = ours - np.array(values["psnr"])
        means[method] = {
            "psnr": float(np.mean(values["psnr"])),
            "ssim": float(np.mean(values["ssim"])),
            "gain": float(gain.mean()),
            "better": float((gain > 0).mean()),
        }
    return means


def text(means: dict[str, dict[str, float]], settings: dict[str, float]) -> str:
    """Return the table of `summary`, best first."""
    lines = [f"{'method':<26}{'PSNR, dB':>10}{'SSIM':>8}{'network is better by':>23}"]
    for method, each in sorted(means.items(), key=lambda item: -item[1]["psnr"]):
        gain = "" if method == OURS else f"{each['gain']:+.2f} dB, {100 * each['better']:.0f} %"
        setting = f"   setting {settings[method]:g}" if method in settings else ""
        lines.append(f"{method:<26}{each['psnr']:>10.2f}{each['ssim']:>8.3f}{gain:>23}{setting}")
    return "\n".join(lines)


def _row(image: np.ndarray, one: Degraded, results: dict[str, np.ndarray], methods: Iterable[Rival]) -> dict[str, Any]:
    """Return the columns of an image: clean, degraded, restored, the best rival, and the network's error, five times as bright."""
    best = max((rival.name for rival in methods), key=lambda name: psnr(image, results[name]))
    error = restoration.difference(results[OURS], image)
    return {
        "clean": image,
        "degraded": one.image,
        "network": results[OURS],
        "best other": results[best],
        "error of the network": draw.heat(5 * error),
    }
