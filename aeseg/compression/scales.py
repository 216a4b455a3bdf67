"""The levels of scale, by integer arithmetic: one level that differs between two machines would make the rest of a file unreadable.

After Ballé et al. 2019 ("Integer networks for data compression with latent-variable models").  Deviation: 64-bit integers are precise
enough to round a network trained in floats, so training need not know about them.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64

from aeseg.models.entropy import LEAST_SCALE, LEVELS, LOG_STEP
from aeseg.types import UserError

FRACTION = 16
"""Bits after the point, of weights and of activations."""

LARGEST = 2**30
"""Largest absolute activation; with at most 2^32 as the sum of a unit's weights, sums stay below 2^63."""


class Layer(NamedTuple):
    """An integer convolution: kernel [y x c d] with FRACTION bits after the point, bias [d] with 2 FRACTION."""

    kernel: Int64[np.ndarray, "y x c d"]
    bias: Int64[np.ndarray, "d"]


def layers(params: Mapping[str, Any]) -> list[Layer]:
    """Return the integer layers of a `HyperDecoder`; the last is scaled so that its output is the level of scale."""
    chosen = [(params[name], 1.0, 0.0) for name in ("convolution0", "convolution1")]
    chosen.append((params["last"], 1 / LOG_STEP, -math.log(LEAST_SCALE)))
    return [_layer(leaves, factor, shift) for leaves, factor, shift in chosen]


def levels(hyper_latent: Int64[np.ndarray, "i j e"], layers: list[Layer], size: tuple[int, int]) -> Int64[np.ndarray, "h w d"]:
    """Return the level of scale of each number of y [h w d] from z, as `HyperDecoder` and rounding to the nearest level do."""
    values = np.clip(hyper_latent << FRACTION, -LARGEST, LARGEST)
    for layer in layers[:2]:
        values = np.maximum(_rescaled(_transposed(values, layer)), 0)
    values = _rescaled(_convolved(values, layers[2]))[: size[0], : size[1]]
    return np.clip((values + (1 << FRACTION >> 1)) >> FRACTION, 0, LEVELS - 1)


def _layer(leaves: Mapping[str, Any], factor: float, shift: float) -> Layer:
    kernel, bias = (np.asarray(leaves[name], np.float64) for name in ("kernel", "bias"))
    largest = np.abs(kernel * factor).sum(axis=(0, 1, 2)).max(initial=0)
    if not largest < 2**15 or not np.abs(bias).max(initial=0) < 2**15:  # also NaN
        raise UserError(
            f"The hyper-decoder's weights are too large for integer arithmetic (expected sums below {2**15}; got {largest:.3g}). "
            "Train with a lower --config.optimiser.learning_rate."
        )
    return Layer(_fixed(kernel * factor, FRACTION), _fixed((bias + shift) * factor, 2 * FRACTION))


def _fixed(values: np.ndarray, bits: int) -> Int64[np.ndarray, "..."]:
    return np.round(values * 2.0**bits).astype(np.int64)


def _rescaled(sums: Int64[np.ndarray, "..."]) -> Int64[np.ndarray, "..."]:
    """Return sums with 2 FRACTION bits after the point as activations, rounded to the nearest."""
    return np.clip((sums + (1 << FRACTION >> 1)) >> FRACTION, -LARGEST, LARGEST)


def _convolved(values: Int64[np.ndarray, "h w c"], layer: Layer) -> Int64[np.ndarray, "h w d"]:
    """Convolve with a kernel of odd size, zero padding (SAME)."""
    (h, w, _), reach = values.shape, len(layer.kernel) // 2
    padded = np.pad(values, ((reach, reach), (reach, reach), (0, 0)))
    sums = np.broadcast_to(layer.bias, (h, w, len(layer.bias))).copy()
    for y, row in enumerate(layer.kernel):
        for x, weights in enumerate(row):
            sums += padded[y : y + h, x : x + w] @ weights
    return sums


def _transposed(values: Int64[np.ndarray, "h w c"], layer: Layer) -> Int64[np.ndarray, "2*h 2*w d"]:
    """Apply `layers.TransposedConvolution` of 4x4: value (i, j) times kernel[y, x] is added to (2i + y - 1, 2j + x - 1)."""
    h, w, _ = values.shape
    sums = np.broadcast_to(layer.bias, (2 * h + 2, 2 * w + 2, len(layer.bias))).copy()
    for y, row in enumerate(layer.kernel):
        for x, weights in enumerate(row):
            sums[y : y + 2 * h : 2, x : x + 2 * w : 2] += values @ weights
    return sums[1:-1, 1:-1]
