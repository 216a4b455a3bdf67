"""Anomaly maps: where an autoencoder's reconstruction of an image fails, and how well that separates marked pixels."""

from collections.abc import Mapping

import cv2
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

from aeseg.types import UserError


def failures(shown: Mapping[str, Array]) -> Float[Array, "b h w 2"]:
    """Return the absolute error of each pixel, mean over channels, and 1 if it counts, from a method's `show`; else both are 0.

    A method that hides or corrupts pixels (columns `visible` or `noisy`) has to predict these: only they count.
    """
    image, output = shown["image"], shown.get("prediction", shown.get("reconstruction"))
    if output is None or output.shape != image.shape:
        raise UserError(
            f"Expected a method that shows a reconstruction; this one shows {', '.join(shown)}. Name the --init of such an autoencoder."
        )
    seen = shown.get("visible", shown.get("noisy"))
    counts = jnp.ones(image.shape[:3], bool) if seen is None else jnp.any(seen != image, axis=-1)
    error = jnp.mean(jnp.abs(output - image), axis=-1)
    return jnp.stack([jnp.where(counts, error, 0), counts.astype(jnp.float32)], axis=-1)


def anomaly_map(planes: Float[np.ndarray, "h w 2"], sigma: float) -> Float[np.ndarray, "h w"]:
    """Return the mean error of each pixel from sums of `failures`, smoothed by a Gaussian of `sigma` pixels (0: not at all).

    Errors and counts are smoothed apart and then divided, so that pixels that never counted take the value of their surroundings.
    """
    planes = np.ascontiguousarray(planes, np.float32)
    if sigma:
        planes = cv2.GaussianBlur(planes, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return planes[..., 0] / np.maximum(planes[..., 1], np.finfo(np.float32).tiny)


def auroc(scores: Shaped[np.ndarray, "n"], marked: Bool[np.ndarray, "n"]) -> float:
    """Return the area under the receiver operating characteristic: the probability that a marked score exceeds an unmarked one.

    The Mann-Whitney statistic; ties count a half. NaN unless both kinds occur. Equals scikit-learn's `roc_auc_score`.
    """
    positive, negative = scores[marked], np.sort(scores[~marked])
    if not positive.size or not negative.size:
        return float("nan")
    lower, upper = (np.searchsorted(negative, positive, side).sum(dtype=np.float64) for side in ("left", "right"))
    return float((lower + upper) / 2 / positive.size / negative.size)
