"""Training losses. Each returns a Mean: a float32 total, and a weight that depends only on labels and shapes.

Rows with `valid=False` (padding) have weight 0. If every weight is 0, so are the total and its gradient.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Integer

from aeseg import images
from aeseg.metrics import Mean, divide
from aeseg.types import IGNORE, UserError

SSIM_SHARE = 0.84
"""Weight of 1 - SSIM in `ssim_l1`: alpha of Zhao et al. 2017, section 3.4 of the preprint (arXiv 1511.08861)."""

NORMALISERS = ("weights", "pixels")
"""Divisors of a weighted cross-entropy."""

IMAGE_OBJECTIVES = ("squared_error", "absolute_error", "binary_cross_entropy", "ssim_l1")
OUTPUTS = ("sigmoid", "linear")


def image_error(
    objective: str,
    output: str,
    values: Float[Array, "b h w c"],
    target: Float[Array, "b h w c"],
    valid: Bool[Array, "b"],
    emphasis: Float[Array, "b h w"] | None = None,
) -> Mean:
    """Evaluate the named objective (one of IMAGE_OBJECTIVES) on a decoder's unbounded values."""
    check_image_objective(objective, output)
    if objective == "binary_cross_entropy":
        return binary_cross_entropy(values, target, valid, emphasis)
    error = {"squared_error": squared_error, "absolute_error": absolute_error, "ssim_l1": ssim_l1}[objective]
    return error(as_prediction(values, output), target, valid, emphasis)


def check_image_objective(objective: str, output: str) -> None:
    """Raise UserError if the objective or output is unknown, or if the two are incompatible."""
    if objective not in IMAGE_OBJECTIVES:
        raise UserError(f"objective is one of {', '.join(IMAGE_OBJECTIVES)}; got {objective!r}. Set objective to one of these.")
    if output not in OUTPUTS:
        raise UserError(f"output is one of {', '.join(OUTPUTS)}; got {output!r}. Set output to one of these.")
    if objective == "binary_cross_entropy" and output != "sigmoid":
        raise UserError(f"binary_cross_entropy needs output='sigmoid'; got {output!r}. Set it, or use another objective.")


def as_prediction(values: Float[Array, "b h w c"], output: str) -> Float[Array, "b h w c"]:
    """Return the prediction to compare with the target: the sigmoid of the values, or the values themselves."""
    values = values.astype(jnp.float32)
    return jax.nn.sigmoid(values) if output == "sigmoid" else values


def squared_error(
    prediction: Float[Array, "b h w c"],
    target: Float[Array, "b h w c"],
    valid: Bool[Array, "b"],
    emphasis: Float[Array, "b h w"] | None = None,
) -> Mean:
    """Mean of (prediction - target)^2 over pixels and channels, then over images.

    `emphasis` multiplies the error of each pixel. It is not normalised: the weight is the number of images.
    """
    return _over_images(jnp.square(prediction.astype(jnp.float32) - target), valid, emphasis)


def absolute_error(
    prediction: Float[Array, "b h w c"],
    target: Float[Array, "b h w c"],
    valid: Bool[Array, "b"],
    emphasis: Float[Array, "b h w"] | None = None,
) -> Mean:
    """Mean of |prediction - target| over pixels and channels, then over images; `emphasis` as in `squared_error`."""
    return _over_images(jnp.abs(prediction.astype(jnp.float32) - target), valid, emphasis)


def binary_cross_entropy(
    logits: Float[Array, "b h w c"],
    target: Float[Array, "b h w c"],
    valid: Bool[Array, "b"],
    emphasis: Float[Array, "b h w"] | None = None,
) -> Mean:
    """Mean of -t log s - (1 - t) log(1 - s) over pixels, channels and images; s = sigmoid(logits), t in [0, 1].

    The minimum, at s = t, is `binary_entropy` of t rather than 0: compare differences between runs, not values.
    """
    logits = logits.astype(jnp.float32)
    error = jnp.maximum(logits, 0) - logits * target + jnp.log1p(jnp.exp(-jnp.abs(logits)))
    return _over_images(error, valid, emphasis)


def binary_entropy(target: Float[Array, "b h w c"], valid: Bool[Array, "b"]) -> Mean:
    """Mean of -t log t - (1 - t) log(1 - t) over pixels, channels and images, in nats, for t in [0, 1]; 0 for black and white.

    The floor of `binary_cross_entropy`: its value for a perfect reconstruction, at most log 2.
    """
    target = jnp.clip(target.astype(jnp.float32), 0, 1)  # 255 / 255 may round to above 1
    return _over_images(jax.scipy.special.entr(target) + jax.scipy.special.entr(1 - target), valid, None)


def ssim_l1(
    prediction: Float[Array, "b h w c"],
    target: Float[Array, "b h w c"],
    valid: Bool[Array, "b"],
    emphasis: Float[Array, "b h w"] | None = None,
) -> Mean:
    """0.84 (1 - SSIM) + 0.16 L1 (Zhao et al. 2017, "Loss functions for image restoration with neural networks", section 3.4).

    Deviations: SSIM at one scale (the paper: five) and a plain L1 (the paper weights it by the Gaussian of the coarsest scale).
    """
    similarity = images.ssim_map(prediction, target)
    inner = None
    if emphasis is not None:
        margin = (images.ssim_window(*emphasis.shape[1:]) - 1) // 2
        inner = emphasis[:, margin : emphasis.shape[1] - margin, margin : emphasis.shape[2] - margin]
    structure = _over_images(1 - similarity, valid, inner)
    colour = absolute_error(prediction, target, valid, emphasis)
    return Mean(SSIM_SHARE * structure.total + (1 - SSIM_SHARE) * colour.total, colour.weight)


def hidden_error(error: Float[Array, "b h w p"], hidden: Bool[Array, "b h w"], valid: Bool[Array, "b"]) -> Mean:
    """Mean of an error over its last axis, then over hidden positions, then over images (He et al. 2022, section 3).

    h w are patches or pixels. If every image hides the same number, this equals the mean over all hidden positions, as in
    the papers. An image that hides nothing contributes 0.
    """
    each = jnp.sum(jnp.where(hidden, jnp.mean(error.astype(jnp.float32), axis=-1), 0), axis=(1, 2))
    each = divide(each, jnp.sum(hidden, axis=(1, 2), dtype=jnp.int32).astype(jnp.float32))
    return Mean(jnp.sum(jnp.where(valid, each, 0)), image_count(valid))


def image_count(valid: Bool[Array, "b"]) -> Float[Array, ""]:
    """Count the rows that are not padding: the weight of every objective on images."""
    return jnp.sum(valid, dtype=jnp.int32).astype(jnp.float32)


def cross_entropy(
    logits: Float[Array, "b h w k"],
    label: Int[Array, "b h w"],
    valid: Bool[Array, "b"],
    class_weights: Sequence[float] = (),
    normaliser: str = "weights",
) -> Mean:
    """Mean of -log softmax(logits)_label over labelled pixels, weighted by w_label.

    The sum is divided by the sum of w_label (`normaliser` "weights", torch's `CrossEntropyLoss`), or by the number of labelled pixels
    ("pixels", caffe-segnet's SoftmaxWithLoss). `class_weights` of () weights all classes 1, and both are one. A label outside [0, k)
    other than IGNORE gives NaN instead of a wrong loss.
    """
    logits = logits.astype(jnp.float32)
    classes = jnp.arange(logits.shape[-1], dtype=label.dtype)
    is_label = label[..., None] == classes[None, None, None]  # b h w k; a gather's gradient (scatter) is slow on every backend
    known = labelled(label, valid)
    picked = jnp.sum(jnp.where(is_label, logits, 0), axis=-1)
    picked = jnp.where(jnp.any(is_label, axis=-1) | ~known, picked, jnp.nan)
    error = jax.nn.logsumexp(logits, axis=-1) - picked
    return Mean(
        jnp.sum(_pixel_weights(label, known, class_weights) * jnp.where(known, error, 0)),
        cross_entropy_weight(label, valid, class_weights, normaliser),
    )


def cross_entropy_weight(
    label: Int[Array, "b h w"],
    valid: Bool[Array, "b"],
    class_weights: Sequence[float] = (),
    normaliser: str = "weights",
) -> Float[Array, ""]:
    """Return the weight of `cross_entropy` from the labels: sum w_label, or the number of labelled pixels."""
    known = labelled(label, valid)
    if not class_weights or normaliser == "pixels":
        return jnp.sum(known, dtype=jnp.int32).astype(jnp.float32)
    return jnp.sum(_pixel_weights(label, known, class_weights))


def dice_loss(logits: Float[Array, "b h w k"], label: Int[Array, "b h w"], valid: Bool[Array, "b"]) -> Mean:
    """Soft Dice loss over labelled pixels (Milletari et al. 2016, section 3).

    1 - 2 sum(s t) / (sum(s) + sum(t)) per class, for softmax s and one-hot label t; mean over the classes in the image's
    label, then over images with a labelled pixel. Absent classes are left out, so the weight depends on labels only; their
    false positives cost once, via the true class. Deviation: sums of s and t, not of their squares.
    """
    known = labelled(label, valid)
    classes = jnp.arange(logits.shape[-1], dtype=label.dtype)
    truth = ((label[..., None] == classes[None, None, None]) & known[..., None]).astype(jnp.float32)
    probability = jax.nn.softmax(logits.astype(jnp.float32), axis=-1) * known[..., None].astype(jnp.float32)
    overlap = jnp.sum(probability * truth, axis=(1, 2))  # b k
    pixels = jnp.sum(truth, axis=(1, 2))
    present = (pixels > 0).astype(jnp.float32)
    loss = present * (1 - divide(2 * overlap, jnp.sum(probability, axis=(1, 2)) + pixels))
    return Mean(jnp.sum(divide(jnp.sum(loss, axis=1), jnp.sum(present, axis=1))), dice_weight(label, valid))


def dice_weight(label: Int[Array, "b h w"], valid: Bool[Array, "b"]) -> Float[Array, ""]:
    """Return the weight of `dice_loss` from the labels: the number of images with a labelled pixel."""
    return jnp.sum(jnp.any(labelled(label, valid), axis=(1, 2)), dtype=jnp.int32).astype(jnp.float32)


def labelled(label: Int[Array, "b h w"], valid: Bool[Array, "b"]) -> Bool[Array, "b h w"]:
    """Mark the pixels that count: not IGNORE and not in a padding row."""
    return (label != IGNORE) & valid[:, None, None]


def median_frequency(counts: Integer[np.ndarray, "k"], presence: Integer[np.ndarray, "k"]) -> Float[np.ndarray, "k"]:
    """Class weights median(f) / f_c (Eigen & Fergus 2015, section 6.3.2; used by SegNet, section 3).

    f_c is `counts`, the pixels of class c, over `presence`, all pixels (void included) of the images that contain c. A class
    that never occurs is left out of the median and gets weight 0.
    """
    frequency = _frequency(counts, presence)
    occurs = frequency > 0
    return np.where(occurs, np.median(frequency[occurs]) / np.where(occurs, frequency, 1), 0)


def inverse_square_root(counts: Integer[np.ndarray, "k"], presence: Integer[np.ndarray, "k"]) -> Float[np.ndarray, "k"]:
    """Class weights 1 / sqrt(f_c), f as in `median_frequency`, with mean 1 over the classes that occur; the others get 0."""
    frequency = _frequency(counts, presence)
    occurs = frequency > 0
    weights = np.where(occurs, 1 / np.sqrt(np.where(occurs, frequency, 1)), 0)
    return weights / weights[occurs].mean()


def _frequency(counts: Integer[np.ndarray, "k"], presence: Integer[np.ndarray, "k"]) -> Float[np.ndarray, "k"]:
    if not counts.any():
        raise UserError("Class weights need at least one labelled pixel; the labels hold none. Check the labels, or weight all classes 1.")
    return counts / np.maximum(presence, 1)


def _pixel_weights(
    label: Int[Array, "b h w"],
    known: Bool[Array, "b h w"],
    class_weights: Sequence[float],
) -> Float[Array, "b h w"]:
    if not class_weights:
        return known.astype(jnp.float32)
    weights = jnp.asarray(class_weights, jnp.float32)
    return jnp.where(known, weights[jnp.clip(label, 0, weights.size - 1)], 0)


def _over_images(error: Float[Array, "b h w c"], valid: Bool[Array, "b"], emphasis: Float[Array, "b h w"] | None) -> Mean:
    if emphasis is not None:
        error = error * emphasis[..., None]
    each = jnp.mean(error, axis=(1, 2, 3))  # b; the mean per image first: sums over millions of pixels lose digits
    return Mean(jnp.sum(jnp.where(valid, each, 0)), image_count(valid))
