"""Evaluation metrics. Each is a sum and a weight, or an integer count, and is divided exactly once."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Int32, Integer

from aeseg import images
from aeseg.types import IGNORE


class Mean(NamedTuple):
    """An undivided mean: what every objective returns. `+` joins the parts of a data set.

    >>> (Mean(jnp.float32(6), jnp.float32(2)) + Mean(jnp.float32(3), jnp.float32(1))).value().item()
    3.0
    """

    total: Float[Array, ""]
    weight: Float[Array, ""]

    def __add__(self, other: "Mean") -> "Mean":  # type: ignore[override]
        return Mean(self.total + other.total, self.weight + other.weight)

    def value(self) -> Float[Array, ""]:
        """Return total / weight, or 0 if the weight is 0."""
        return divide(self.total, self.weight)


def divide(total: Float[Array, "*n"], weight: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return total / weight, and 0 (with gradient 0) where the weight is 0."""
    return jnp.where(weight > 0, total / jnp.where(weight > 0, weight, 1), 0)


def psnr(prediction: Float[Array, "b h w c"], target: Float[Array, "b h w c"], valid: Bool[Array, "b"]) -> Mean:
    """Peak signal-to-noise ratio, -10 log10(squared error), in dB for images in [0, 1]; mean over images.

    `prediction` is clipped to [0, 1] first, as an image file would. A perfect image counts as 100 dB, not infinity.
    """
    error = jnp.mean(jnp.square(jnp.clip(prediction.astype(jnp.float32), 0, 1) - target), axis=(1, 2, 3))
    return _over_images(-10 * jnp.log10(jnp.maximum(error, 1e-10)), valid)


def ssim(prediction: Float[Array, "b h w c"], target: Float[Array, "b h w c"], valid: Bool[Array, "b"]) -> Mean:
    """Structural similarity (Wang et al. 2004; see `images.ssim_map`); mean over images.

    `prediction` is clipped to [0, 1] first.
    """
    similarity = images.ssim_map(jnp.clip(prediction.astype(jnp.float32), 0, 1), target)
    return _over_images(jnp.mean(similarity, axis=(1, 2, 3)), valid)


def accuracy(logits: Float[Array, "b h w k"], label: Int[Array, "b h w"], valid: Bool[Array, "b"]) -> Mean:
    """Fraction of the batch's labelled pixels whose most likely class is their label, for the log of a training step."""
    known = (label != IGNORE) & valid[:, None, None]
    correct = known & (jnp.argmax(logits, axis=-1) == label)
    return Mean(*(jnp.sum(pixels, dtype=jnp.int32).astype(jnp.float32) for pixels in (correct, known)))


@functools.partial(jax.jit, static_argnames="classes")
def confusion(
    prediction: Integer[Array | np.ndarray, "b *p"],
    label: Integer[Array | np.ndarray, "b *p"],
    classes: int,
    valid: Bool[Array | np.ndarray, "b"] | None = None,
) -> Int32[Array, "{classes} {classes}"]:
    """Confusion matrix of one batch: pixels of each label (row) predicted as each class (column).

    Pixels labelled IGNORE, rows with `valid=False` and values outside 0..classes - 1 are not counted: check labels where
    they are read. The counts are int32, exact below 2^31 pixels; sum batches in int64 on the host.

    >>> confusion(np.array([[0, 1, 1]]), np.array([[0, 0, 255]]), classes=2).tolist()
    [[1, 1], [0, 0]]
    """
    prediction, label = jnp.asarray(prediction, jnp.int32), jnp.asarray(label, jnp.int32)  # uint8 would overflow below
    counted = (label >= 0) & (label < classes) & (label != IGNORE) & (prediction >= 0) & (prediction < classes)
    if valid is not None:
        counted &= valid.reshape(-1, *(1,) * (label.ndim - 1))
    cell = jnp.where(counted, label * classes + prediction, classes * classes).ravel()
    return jnp.bincount(cell, length=classes * classes + 1)[:-1].reshape(classes, classes).astype(jnp.int32)


def iou(confusion: Integer[np.ndarray, "k k"]) -> Float[np.ndarray, "k"]:
    """Intersection over union of each class (Jaccard index); NaN if it is neither labelled nor predicted."""
    labelled, predicted, correct = _sums(confusion)
    return ratio(correct, labelled + predicted - correct)


def dice(confusion: Integer[np.ndarray, "k k"]) -> Float[np.ndarray, "k"]:
    """Dice coefficient (F1) of each class, twice the intersection over the sum of both; NaN if neither labelled nor predicted."""
    labelled, predicted, correct = _sums(confusion)
    return ratio(2 * correct, labelled + predicted)


def class_accuracies(confusion: Integer[np.ndarray, "k k"]) -> Float[np.ndarray, "k"]:
    """Recall of each class, the fraction of its labelled pixels predicted correctly; NaN if it is not labelled."""
    labelled, _, correct = _sums(confusion)
    return ratio(correct, labelled)


def mean_iou(confusion: Integer[np.ndarray, "k k"]) -> float:
    """Mean of `iou` over the classes that are labelled or predicted (`classes_averaged` counts them); NaN if there are none.

    >>> mean_iou(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))  # (3/4 + 4/5) / 2; the third class never occurs
    0.775
    """
    return mean_over_classes(iou(confusion))


def mean_dice(confusion: Integer[np.ndarray, "k k"]) -> float:
    """Mean of `dice` over the classes that are labelled or predicted; NaN if there are none."""
    return mean_over_classes(dice(confusion))


def class_accuracy(confusion: Integer[np.ndarray, "k k"]) -> float:
    """Mean of `class_accuracies` over the labelled classes; NaN if there are none."""
    return mean_over_classes(class_accuracies(confusion))


def classes_averaged(confusion: Integer[np.ndarray, "k k"]) -> int:
    """Count the classes that `mean_iou` and `mean_dice` average."""
    return int(np.sum(~np.isnan(iou(confusion))))


def reference_mean_iou(confusion: Integer[np.ndarray, "k k"]) -> float:
    """Mean IoU by the rule of CamVid's tables: drop void pixels, count absent classes as 0, always divide by k (11 there)."""
    return float(np.nan_to_num(iou(confusion)).mean())


def pixel_accuracy(confusion: Integer[np.ndarray, "k k"]) -> float:
    """Fraction of labelled pixels predicted correctly ("global accuracy"); NaN if no pixel is labelled."""
    return float(ratio(np.trace(confusion), confusion.sum()))


def frequency_weighted_iou(confusion: Integer[np.ndarray, "k k"]) -> float:
    """`iou` weighted by each class's fraction of the labelled pixels (Long et al. 2015, section 5); NaN if none is labelled."""
    labelled, _, _ = _sums(confusion)
    return float(np.sum(np.nan_to_num(iou(confusion)) * ratio(labelled, labelled.sum())))


def ratio(part: np.ndarray | np.number, total: np.ndarray | np.number) -> np.ndarray:
    """Return part / total in float64; NaN where both are 0."""
    with np.errstate(invalid="ignore"):
        return np.asarray(part / np.asarray(total, np.float64))


def mean_over_classes(values: Float[np.ndarray, "k"]) -> float:
    """Mean of the values that are not NaN; NaN if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _over_images(each: Float[Array, "b"], valid: Bool[Array, "b"]) -> Mean:
    return Mean(jnp.sum(jnp.where(valid, each, 0)), jnp.sum(valid, dtype=jnp.int32).astype(jnp.float32))


def _sums(confusion: Integer[np.ndarray, "k k"]) -> tuple[Integer[np.ndarray, "k"], ...]:
    """Return the pixels of each class that are labelled, predicted, and both."""
    counts = confusion.astype(np.int64)
    return counts.sum(axis=1), counts.sum(axis=0), np.diagonal(counts)
