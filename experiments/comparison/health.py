"""Health of a pretraining: a linear probe and the rank of its features while it trains, since losses do not show useful features."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from aeseg import images, metrics
from aeseg.inference.probes import patch_labels
from aeseg.runs import scores
from aeseg.training.state import TrainState
from aeseg.types import IGNORE

WINDOWS = 32
"""Number of labelled windows of training images; the first half fits the probe, the second half scores it."""

PENALTY = 1.0
"""Penalty of the ridge regression on standardised features."""

COLLAPSED = 2.0
"""Effective rank below which features have collapsed."""

UNLEARNED = 0.02
"""Loss of the probe's mIoU, against the untrained encoder, that gives a warning."""


class Health(NamedTuple):
    """Result of a check: mIoU of a linear probe, and effective rank of the features."""

    probe: float
    rank: float


def effective_rank(features: Float[np.ndarray, "n d"]) -> float:
    """Return RankMe: exp of the entropy of the normalised singular values (Garrido et al. 2023, arXiv 2210.02885, eq. 2-3)."""
    values = np.linalg.svd(features.astype(np.float64), compute_uv=False)
    normalised = values / max(values.sum(), 1e-12) + 1e-7
    return float(np.exp(-np.sum(normalised * np.log(normalised))))


def ridge(features: Float[np.ndarray, "n d"], labels: Int[np.ndarray, "n"], classes: int, penalty: float = PENALTY) -> Callable[[Any], Any]:
    """Fit a classifier: ridge regression to +1 for a feature's class and -1 for others, as scikit-learn's RidgeClassifier.

    The mean and deviation of the fitted features standardise all features.  Returns a function from features to classes.
    """
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation = np.where(deviation > 1e-6, deviation, 1.0)
    standard = ((features - mean) / deviation).astype(np.float64)
    targets = np.where(labels[:, None] == np.arange(classes), 1.0, -1.0)
    kernel = np.linalg.solve(standard.T @ standard + penalty * np.eye(standard.shape[1]), standard.T @ (targets - targets.mean(axis=0)))
    return lambda given: np.argmax((given - mean) / deviation @ kernel + targets.mean(axis=0), axis=-1)


def probed(features: Float[np.ndarray, "b _ _ d"], labels: Int[np.ndarray, "b _ _"], classes: int) -> Health:
    """Return the health of features with one label per cell.  The first half of the images fits the probe, the second half scores it."""
    half, channels = len(features) // 2, features.shape[-1]
    flat = [part.reshape(-1, channels) for part in (features[:half], features[half:])]
    truth = [part.reshape(-1) for part in (labels[:half], labels[half:])]
    known = [part != IGNORE for part in truth]
    prediction = ridge(flat[0][known[0]], truth[0][known[0]], classes)(flat[1][known[1]])
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (truth[1][known[1]], prediction), 1)
    return Health(float(metrics.mean_iou(confusion)), effective_rank(features.reshape(-1, channels)))


def checker(encoder: Any, batches: Sequence[Mapping[str, np.ndarray]], classes: int) -> Callable[[TrainState], Health]:
    """Return a function from a pretraining's state to the health of the encoder's coarsest features."""
    compiled = scores.on_local_devices(lambda variables, batch: _coarsest(encoder, variables, batch))
    image, label = (np.concatenate([batch[name] for batch in batches])[:WINDOWS] for name in ("image", "label"))

    def check(state: TrainState) -> Health:
        variables = scores.host_copy({name: leaves["encoder"] for name, leaves in state.variables.items() if "encoder" in leaves})
        features = np.asarray(compiled(variables, {"image": image}), np.float32)
        stride = image.shape[1] // features.shape[1]
        return probed(features, patch_labels(label, stride, classes), classes)

    return check


def _coarsest(encoder: Any, variables: Any, batch: Any) -> jax.Array:
    pyramid = encoder.apply(variables, images.as_float(batch["image"]), train=False)
    return pyramid[max(pyramid)]


def warning(arm: str, step: int, now: Health, untrained: Health) -> str:
    """Return a warning if a pretraining has collapsed or unlearns, or ""."""
    if now.rank < COLLAPSED <= untrained.rank:
        return f"{arm}: collapsed at step {step}; the effective rank of its features is {now.rank:.1f} ({untrained.rank:.1f} untrained)."
    if now.probe < untrained.probe - UNLEARNED:
        return f"{arm}: unlearns; at step {step} a linear probe has {now.probe:.3f} mIoU, {untrained.probe:.3f} with the untrained encoder."
    return ""
