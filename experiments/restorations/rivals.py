"""The usual restoration methods, of OpenCV, scikit-image and Pillow, each with its best setting."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from aeseg import images, noises
from aeseg.inference import restoration
from aeseg.inference.restoration import Degraded, Noise
from aeseg.types import UserError

TUNED_ON = 4
"""Number of images, evenly spread, whose PSNR against the clean image chooses the setting of a rival."""

STRENGTHS = (0.4, 0.6, 0.7, 0.8, 1.0, 1.2)
"""Filter strengths h of non-local means, for brightness and colours, as multiples of the noise's standard deviation."""

USUAL_SIGMA = 25 / 255
"""Standard deviation for `STRENGTHS` if the noise is not Gaussian."""

BALANCES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Weights of the Laplacian in scikit-image's Wiener filter."""


class Rival(NamedTuple):
    """A method's name, its function of (degraded image, setting), and the settings to choose from, if it has any."""

    name: str
    restore: Callable[[Degraded, float], np.ndarray]
    settings: tuple[float, ...] = (0.0,)


def check_installed() -> None:
    """Raise UserError unless scikit-image is installed."""
    try:
        import skimage  # noqa: F401
    except ImportError as error:
        raise UserError("--table needs scikit-image, which is not installed. Run: pip install -e '.[restore]'.") from error


def of_task(noise: Noise) -> tuple[Rival, ...]:
    """Return the usual methods that undo a noise."""
    task = noises.task(noise)
    if task == "inpaint":
        return (
            Rival(
                "Telea (OpenCV)", lambda degraded, _: cv2.inpaint(degraded.image, degraded.hidden.astype(np.uint8), 3, cv2.INPAINT_TELEA)
            ),
            Rival(
                "Navier-Stokes (OpenCV)",
                lambda degraded, _: cv2.inpaint(degraded.image, degraded.hidden.astype(np.uint8), 3, cv2.INPAINT_NS),
            ),
        )
    if task == "superresolve":
        times = restoration.factor(noise)
        return (
            Rival(
                "bicubic (Pillow)",
                lambda degraded, _: np.asarray(Image.fromarray(degraded.image).resize(_size(degraded, times), Image.Resampling.BICUBIC)),
            ),
            Rival(
                "bicubic (OpenCV)", lambda degraded, _: cv2.resize(degraded.image, _size(degraded, times), interpolation=cv2.INTER_CUBIC)
            ),
            Rival(
                "Lanczos (OpenCV)", lambda degraded, _: cv2.resize(degraded.image, _size(degraded, times), interpolation=cv2.INTER_LANCZOS4)
            ),
        )
    wiener = Rival("Wiener (scikit-image)", lambda degraded, balance: _wiener(degraded.image, _blur(noise), balance), BALANCES)
    if task == "deblur":
        return (wiener,)
    sigma = 255 * next((each.sigma for each in noise if isinstance(each, noises.Gaussian)), USUAL_SIGMA)
    return Rival("non-local means (OpenCV)", _non_local_means, tuple(round(sigma * each, 2) for each in STRENGTHS)), wiener


def unchanged() -> Rival:
    """Return the method that leaves the degraded image as it is."""
    return Rival("degraded", lambda degraded, _: degraded.image)


def tuned(rival: Rival, pairs: Sequence[tuple[np.ndarray, Degraded]], psnr: Callable[[np.ndarray, np.ndarray], float]) -> float:
    """Return the setting with the highest mean PSNR over (clean, degraded) images."""
    if len(rival.settings) == 1:
        return rival.settings[0]
    return max(rival.settings, key=lambda setting: sum(psnr(clean, rival.restore(degraded, setting)) for clean, degraded in pairs))


def _non_local_means(degraded: Degraded, strength: float) -> np.ndarray:
    """Denoise by non-local means (Buades et al. 2005) in CIELAB, with OpenCV's defaults: patches of 7, neighbourhoods of 21 pixels."""
    blue_first = np.ascontiguousarray(degraded.image[..., ::-1])
    return cv2.fastNlMeansDenoisingColored(blue_first, None, strength, strength, 7, 21)[..., ::-1]


def _wiener(image: np.ndarray, psf: np.ndarray, balance: float) -> np.ndarray:
    """Deconvolve each channel by scikit-image's Wiener-Hunt filter; edges are mirrored first, since the filter is periodic."""
    from skimage import restoration as deconvolution

    margin = 2 * psf.shape[0] + 8
    wide = np.pad(image / 255, ((margin, margin), (margin, margin), (0, 0)), mode="reflect" if min(image.shape[:2]) > margin else "edge")
    planes = [deconvolution.wiener(wide[..., channel], psf, balance, clip=False) for channel in range(wide.shape[-1])]
    values = np.stack(planes, axis=-1)[margin:-margin, margin:-margin]
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _blur(noise: Noise) -> np.ndarray:
    """Return the point spread function of the noise: its Gaussian blur, or a single point."""
    sigma = next((each.sigma for each in noise if isinstance(each, noises.Blur)), 0.0)
    kernel: Any = images.gaussian_kernel(2 * max(1, int(np.ceil(3 * sigma))) + 1, sigma) if sigma else np.ones(1)
    return np.outer(kernel, kernel)


def _size(degraded: Degraded, times: int) -> tuple[int, int]:
    return degraded.image.shape[1] * times, degraded.image.shape[0] * times
