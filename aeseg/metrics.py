"""Numbers about predictions.  Everything is a sum and a weight, or an integer count; each is divided exactly once."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Int32, Integer

from aeseg import images
from aeseg.types import IGNORE


class Mean(NamedTuple):
    """A mean that is not yet divided: what every objective returns.  Parts of a data set are joined with `+`."""

    total: Float[Array, ""]
    weight: Float[Array, ""]

    def __add__(self, other: "Mean") -> "Mean":  # type: ignore[override]
        return Mean(self.total + other.total, self.weight + other.weight)

    def value(self) -> Float[Array, ""]:
        """total / weight; 0 where nothing weighs."""
        return divide(self.total, self.weight)


def divide(total: Float[Array, "*n"], weight: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """total / weight, and 0 (with gradient 0) where the weight is 0."""
    return jnp.where(weight > 0, total / jnp.where(weight > 0, weight, 1), 0)


def psnr(prediction: Float[Array, "b h w c"], target: Float[Array, "b h w c"], valid: Bool[Array, "b"]) -> Mean:
    """Peak signal-to-noise ratio, -10 log10(squared error), in dB for images in [0, 1]; one number per image, then their mean.

    `prediction` is clipped to [0, 1] first, as a picture file would.  A perfect image counts 100 dB, not infinity.
    """
    error = jnp.mean(jnp.square(jnp.clip(prediction.astype(jnp.float32), 0, 1) - target), axis=(1, 2, 3))
    return _over_images(-10 * jnp.log10(jnp.maximum(error, 1e-10)), valid)


def ssim(prediction: Float[Array, "b h w c"], target: Float[Array, "b h w c"], valid: Bool[Array, "b"]) -> Mean:
    """Structural similarity (Wang et al. 2004; see `images.ssim_map`): one number per image, then their mean.

    `prediction` is clipped to [0, 1] first.
    """
    similarity = images.ssim_map(jnp.clip(prediction.astype(jnp.float32), 0, 1), target)
    return _over_images(jnp.mean(similarity, axis=(1, 2, 3)), valid)


def accuracy(logits: Float[Array, "b h w k"], label: Int[Array, "b h w"], valid: Bool[Array, "b"]) -> Mean:
    """The share of labelled pixels whose most likely class is their label, of one batch: for the log of a training step."""
    known = (label != IGNORE) & valid[:, None, None]
    right = known & (jnp.argmax(logits, axis=-1) == label)
    return Mean(*(jnp.sum(pixels, dtype=jnp.int32).astype(jnp.float32) for pixels in (right, known)))


@functools.partial(jax.jit, static_argnames="classes")
def confusion(
    prediction: Integer[Array | np.ndarray, "b *p"],
    label: Integer[Array | np.ndarray, "b *p"],
    classes: int,
    valid: Bool[Array | np.ndarray, "b"] | None = None,
) -> Int32[Array, "{classes} {classes}"]:
    """How many pixels of each label (row) were predicted as each class (column), of one batch.

    Pixels labelled IGNORE and rows with `valid=False` are not counted, nor is anything outside 0..classes - 1: check labels
    where they are read.  int32, exact below 2^31 pixels; add batches up in int64 on the host.
    """
    prediction, label = jnp.asarray(prediction, jnp.int32), jnp.asarray(label, jnp.int32)  # uint8 would overflow below
    counted = (label >= 0) & (label < classes) & (label != IGNORE) & (prediction >= 0) & (prediction < classes)
    if valid is not None:
        counted &= valid.reshape(-1, *(1,) * (label.ndim - 1))
    cell = jnp.where(counted, label * classes + prediction, classes * classes).ravel()
    return jnp.bincount(cell, length=classes * classes + 1)[:-1].reshape(classes, classes).astype(jnp.int32)


def iou(confusion: Integer[np.ndarray, "k k"]) -> Float[np.ndarray, "k"]:
    """Intersection over union of each class (Jaccard index); NaN for a class that is neither labelled nor predicted."""
    labelled, predicted, right = _sums(confusion)
    return ratio(right, labelled + predicted - right)


def dice(confusion: Integer[np.ndarray, "k k"]) -> Float[np.ndarray, "k"]:
    """Twice the intersection over the sum of both (F1) of each class; NaN for one that is neither labelled nor predicted."""
    labelled, predicted, right = _sums(confusion)
    return ratio(2 * right, labelled + predicted)


def class_accuracies(confusion: Integer[np.ndarray, "k k"]) -> Float[np.ndarray, "k"]:
    """The share of each class's labelled pixels that were predicted so (recall); NaN for a class that is not labelled."""
    labelled, _, right = _sums(confusion)
    return ratio(right, labelled)


def mean_iou(confusion: Integer[np.ndarray, "k k"]) -> float:
    """The mean of `iou` over the classes that are labelled or predicted; `classes_averaged` says how many.  NaN for none."""
    return mean_over_classes(iou(confusion))


def mean_dice(confusion: Integer[np.ndarray, "k k"]) -> float:
    """The mean of `dice` over the classes that are labelled or predicted; NaN for none."""
    return mean_over_classes(dice(confusion))


def class_accuracy(confusion: Integer[np.ndarray, "k k"]) -> float:
    """The mean of `class_accuracies` over the classes that are labelled; NaN for none."""
    return mean_over_classes(class_accuracies(confusion))


def classes_averaged(confusion: Integer[np.ndarray, "k k"]) -> int:
    """How many classes `mean_iou` and `mean_dice` average."""
    return int(np.sum(~np.isnan(iou(confusion))))


def reference_mean_iou(confusion: Integer[np.ndarray, "k k"]) -> float:
    """The rule of CamVid's tables: void pixels dropped, absent classes count 0, always divided by k (11 there)."""
    return float(np.nan_to_num(iou(confusion)).mean())


def pixel_accuracy(confusion: Integer[np.ndarray, "k k"]) -> float:
    """The share of labelled pixels predicted right ("global accuracy"); NaN for none."""
    return float(ratio(np.trace(confusion), confusion.sum()))


def frequency_weighted_iou(confusion: Integer[np.ndarray, "k k"]) -> float:
    """`iou` weighed with each class's share of the labelled pixels (Long et al. 2015, section 5); NaN for none."""
    labelled, _, _ = _sums(confusion)
    return float(np.sum(np.nan_to_num(iou(confusion)) * ratio(labelled, labelled.sum())))


def ratio(part: np.ndarray | np.number, whole: np.ndarray | np.number) -> np.ndarray:
    """part / whole in float64; NaN where both are 0."""
    with np.errstate(invalid="ignore"):
        return np.asarray(part / np.asarray(whole, np.float64))


def mean_over_classes(values: Float[np.ndarray, "k"]) -> float:
    """The mean of the values that are not NaN; NaN for none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _over_images(each: Float[Array, "b"], valid: Bool[Array, "b"]) -> Mean:
    return Mean(jnp.sum(jnp.where(valid, each, 0)), jnp.sum(valid, dtype=jnp.int32).astype(jnp.float32))


def _sums(confusion: Integer[np.ndarray, "k k"]) -> tuple[Integer[np.ndarray, "k"], ...]:
    """The pixels labelled, predicted, and both, of each class."""
    counts = confusion.astype(np.int64)
    return counts.sum(axis=1), counts.sum(axis=0), np.diagonal(counts)
