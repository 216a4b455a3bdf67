"""What a network is trained to make small.  Each returns a Mean: a float32 total, and a weight from labels and shapes alone.

Rows with `valid=False` (padding) weigh 0.  With nothing that weighs, total and weight are 0 and so is the gradient.
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
"""The share of 1 - SSIM in `ssim_l1`: alpha of Zhao et al. 2017, section 3.4 of the preprint (arXiv 1511.08861)."""

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
    """The named objective (one of IMAGE_OBJECTIVES) on a decoder's unbounded values."""
    check_image_objective(objective, output)
    if objective == "binary_cross_entropy":
        return binary_cross_entropy(values, target, valid, emphasis)
    error = {"squared_error": squared_error, "absolute_error": absolute_error, "ssim_l1": ssim_l1}[objective]
    return error(as_prediction(values, output), target, valid, emphasis)


def check_image_objective(objective: str, output: str) -> None:
    """Raises UserError for an unknown objective or output, and for a pair that does not go together."""
    if objective not in IMAGE_OBJECTIVES:
        raise UserError(f"objective is one of {', '.join(IMAGE_OBJECTIVES)}; got {objective!r}. Set objective to one of these.")
    if output not in OUTPUTS:
        raise UserError(f"output is one of {', '.join(OUTPUTS)}; got {output!r}. Set output to one of these.")
    if objective == "binary_cross_entropy" and output != "sigmoid":
        raise UserError(f"binary_cross_entropy needs output='sigmoid'; got {output!r}. Set it, or take another objective.")


def as_prediction(values: Float[Array, "b h w c"], output: str) -> Float[Array, "b h w c"]:
    """A decoder's values as what is compared with the target: squeezed into [0, 1] by a sigmoid, or as they are."""
    values = values.astype(jnp.float32)
    return jax.nn.sigmoid(values) if output == "sigmoid" else values


def squared_error(
    prediction: Float[Array, "b h w c"],
    target: Float[Array, "b h w c"],
    valid: Bool[Array, "b"],
    emphasis: Float[Array, "b h w"] | None = None,
) -> Mean:
    """The mean of (prediction - target)^2 over pixels and channels, then over images.

    `emphasis` multiplies the error of a pixel; it is not divided out again, so the weight is the number of images.
    """
    return _over_images(jnp.square(prediction.astype(jnp.float32) - target), valid, emphasis)


def absolute_error(
    prediction: Float[Array, "b h w c"],
    target: Float[Array, "b h w c"],
    valid: Bool[Array, "b"],
    emphasis: Float[Array, "b h w"] | None = None,
) -> Mean:
    """The mean of |prediction - target| over pixels and channels, then over images; `emphasis` as in `squared_error`."""
    return _over_images(jnp.abs(prediction.astype(jnp.float32) - target), valid, emphasis)


def binary_cross_entropy(
    logits: Float[Array, "b h w c"],
    target: Float[Array, "b h w c"],
    valid: Bool[Array, "b"],
    emphasis: Float[Array, "b h w"] | None = None,
) -> Mean:
    """-t log s - (1 - t) log(1 - s) with s = sigmoid(logits) and any t in [0, 1]; the mean over pixels, channels, images.

    It is smallest at s = t, where it is t's own entropy and not 0: only differences between runs say something.
    """
    logits = logits.astype(jnp.float32)
    error = jnp.maximum(logits, 0) - logits * target + jnp.log1p(jnp.exp(-jnp.abs(logits)))
    return _over_images(error, valid, emphasis)


def ssim_l1(
    prediction: Float[Array, "b h w c"],
    target: Float[Array, "b h w c"],
    valid: Bool[Array, "b"],
    emphasis: Float[Array, "b h w"] | None = None,
) -> Mean:
    """0.84 (1 - SSIM) + 0.16 L1 (Zhao et al. 2017, "Loss functions for image restoration with neural networks", section 3.4).

    Deviations: SSIM at one scale (the paper: five), and a plain L1 (the paper weighs it with the Gaussian of the coarsest scale).
    """
    similarity = images.ssim_map(prediction, target)
    inner = None
    if emphasis is not None:
        border = (images.ssim_window(*emphasis.shape[1:]) - 1) // 2
        inner = emphasis[:, border : emphasis.shape[1] - border, border : emphasis.shape[2] - border]
    structure = _over_images(1 - similarity, valid, inner)
    colour = absolute_error(prediction, target, valid, emphasis)
    return Mean(SSIM_SHARE * structure.total + (1 - SSIM_SHARE) * colour.total, colour.weight)


def hidden_error(error: Float[Array, "b h w p"], hidden: Bool[Array, "b h w"], valid: Bool[Array, "b"]) -> Mean:
    """The mean of an error over its last axis, then over what is hidden, then over images (He et al. 2022, section 3).

    h w are patches, or pixels.  Where every image hides equally many this is the mean over all that is hidden, as in the
    papers.  An image with nothing hidden counts 0.
    """
    each = jnp.sum(jnp.where(hidden, jnp.mean(error.astype(jnp.float32), axis=-1), 0), axis=(1, 2))
    each = divide(each, jnp.sum(hidden, axis=(1, 2), dtype=jnp.int32).astype(jnp.float32))
    return Mean(jnp.sum(jnp.where(valid, each, 0)), image_count(valid))


def image_count(valid: Bool[Array, "b"]) -> Float[Array, ""]:
    """The weight of every objective on images: the rows that are not padding."""
    return jnp.sum(valid, dtype=jnp.int32).astype(jnp.float32)


def cross_entropy(
    logits: Float[Array, "b h w k"],
    label: Int[Array, "b h w"],
    valid: Bool[Array, "b"],
    class_weights: Sequence[float] = (),
) -> Mean:
    """-sum w_label log softmax(logits)_label over labelled pixels, of weight sum w_label (torch's `CrossEntropyLoss`).

    () weighs all classes 1.  A label outside [0, k) that is not IGNORE gives NaN: no number is better than a wrong one.
    """
    logits = logits.astype(jnp.float32)
    place = jnp.arange(logits.shape[-1], dtype=label.dtype)
    is_label = label[..., None] == place[None, None, None]  # b h w k; a gather's gradient (scatter) is slow on every backend
    known = labelled(label, valid)
    picked = jnp.sum(jnp.where(is_label, logits, 0), axis=-1)
    picked = jnp.where(jnp.any(is_label, axis=-1) | ~known, picked, jnp.nan)
    error = jax.nn.logsumexp(logits, axis=-1) - picked
    return Mean(
        jnp.sum(_pixel_weights(label, known, class_weights) * jnp.where(known, error, 0)),
        cross_entropy_weight(label, valid, class_weights),
    )


def cross_entropy_weight(
    label: Int[Array, "b h w"],
    valid: Bool[Array, "b"],
    class_weights: Sequence[float] = (),
) -> Float[Array, ""]:
    """The weight of `cross_entropy`, from the labels: sum w_label, or the number of labelled pixels."""
    known = labelled(label, valid)
    if not class_weights:
        return jnp.sum(known, dtype=jnp.int32).astype(jnp.float32)
    return jnp.sum(_pixel_weights(label, known, class_weights))


def dice_loss(logits: Float[Array, "b h w k"], label: Int[Array, "b h w"], valid: Bool[Array, "b"]) -> Mean:
    """1 - soft Dice, 2 sum s t / (sum s + sum t), over labelled pixels (Milletari et al. 2016, equation in section 3).

    For each image the mean over the classes its label holds, then over images with a labelled pixel.  Classes that the label
    lacks stay out, so that the weight comes from labels alone; what is predicted there is missing where the label is, and
    so is punished once.  Deviation: sums of s and t, not of their squares.
    """
    known = labelled(label, valid)
    place = jnp.arange(logits.shape[-1], dtype=label.dtype)
    truth = ((label[..., None] == place[None, None, None]) & known[..., None]).astype(jnp.float32)
    share = jax.nn.softmax(logits.astype(jnp.float32), axis=-1) * known[..., None].astype(jnp.float32)
    overlap = jnp.sum(share * truth, axis=(1, 2))  # b k
    pixels = jnp.sum(truth, axis=(1, 2))
    present = (pixels > 0).astype(jnp.float32)
    loss = present * (1 - divide(2 * overlap, jnp.sum(share, axis=(1, 2)) + pixels))
    return Mean(jnp.sum(divide(jnp.sum(loss, axis=1), jnp.sum(present, axis=1))), dice_weight(label, valid))


def dice_weight(label: Int[Array, "b h w"], valid: Bool[Array, "b"]) -> Float[Array, ""]:
    """The weight of `dice_loss`, from the labels: the images with a labelled pixel."""
    return jnp.sum(jnp.any(labelled(label, valid), axis=(1, 2)), dtype=jnp.int32).astype(jnp.float32)


def labelled(label: Int[Array, "b h w"], valid: Bool[Array, "b"]) -> Bool[Array, "b h w"]:
    """The pixels that weigh: not IGNORE, and not in a padding row."""
    return (label != IGNORE) & valid[:, None, None]


def median_frequency(counts: Integer[np.ndarray, "k"], presence: Integer[np.ndarray, "k"]) -> Float[np.ndarray, "k"]:
    """Class weights median(f) / f_c (Eigen & Fergus 2015, section 6.3.2; used by SegNet, section 3).

    f_c is `counts`, the pixels of class c, over `presence`, all pixels (void too) of the images in which c occurs.  A class
    that never occurs is left out of the median and weighs 0.
    """
    frequency = _frequency(counts, presence)
    occurs = frequency > 0
    return np.where(occurs, np.median(frequency[occurs]) / np.where(occurs, frequency, 1), 0)


def inverse_square_root(counts: Integer[np.ndarray, "k"], presence: Integer[np.ndarray, "k"]) -> Float[np.ndarray, "k"]:
    """Class weights 1 / sqrt(f_c), f as in `median_frequency`, with mean 1 over the classes that occur; the others weigh 0."""
    frequency = _frequency(counts, presence)
    occurs = frequency > 0
    weights = np.where(occurs, 1 / np.sqrt(np.where(occurs, frequency, 1)), 0)
    return weights / weights[occurs].mean()


def _frequency(counts: Integer[np.ndarray, "k"], presence: Integer[np.ndarray, "k"]) -> Float[np.ndarray, "k"]:
    if not counts.any():
        raise UserError("Class weights need at least one labelled pixel; the labels hold none. Check them, or weigh all classes 1.")
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
    each = jnp.mean(error, axis=(1, 2, 3))  # b; a mean per image first: sums of millions of pixels would lose digits
    return Mean(jnp.sum(jnp.where(valid, each, 0)), image_count(valid))
