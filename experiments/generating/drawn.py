"""Draw images from a trained method that has `sample` and `between`."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Num, UInt8

from aeseg import images, keys
from aeseg.runs.workdir import Trained

from ..console.progress import Progress

FRACTIONS = tuple(number / 8 for number in range(9))
"""Positions of interpolated images between two images."""


class Generator:
    """Draws images from a trained method, with the options of its `sample`.

    `example` [1 h w c] has the shape of the images.  Image i depends only on the seed and i.
    """

    def __init__(self, trained: Trained, example: Num[np.ndarray, "1 h w c"], options: Mapping[str, Any], seed: int, batch: int):
        self._method, self._options, self._batch = trained.method, dict(options), batch
        self._variables, self._root = jax.device_put(trained.variables), jax.random.key(seed)
        self._shape = (batch, *example.shape[1:])

    def samples(self, number: int) -> UInt8[np.ndarray, "n h w c"]:
        """Return `number` images of 8 bits."""

        def draw(variables: Any, index: jax.Array) -> jax.Array:
            rows = keys.per_row(self._root, index)
            return self._method.apply(variables, rows, jnp.zeros(self._shape), **self._options, method="sample")  # type: ignore[return-value]

        compiled, drawn = jax.jit(draw), []
        with Progress("drawing", number) as progress:
            for start in range(0, number, self._batch):
                drawn.append(as_bytes(np.asarray(compiled(self._variables, np.arange(start, start + self._batch)))))
                progress.at(min(number, start + self._batch))
        return np.concatenate(drawn)[:number]

    def between(self, real: Num[np.ndarray, "n h w c"], pairs: int) -> dict[float, UInt8[np.ndarray, "p h w c"]]:
        """Return, by fraction, the images between real image i and real image `pairs` + i."""

        def interpolate(variables: Any, first: Any, second: Any, fraction: Any) -> jax.Array:
            rows, (first, second) = keys.per_row(self._root, jnp.arange(pairs)), (images.as_float(each) for each in (first, second))
            return self._method.apply(variables, rows, first, second, fraction, **self._options, method="between")  # type: ignore[return-value]

        compiled = jax.jit(interpolate)
        ends = real[:pairs], real[pairs : 2 * pairs]
        each = {fraction: compiled(self._variables, *ends, np.full(pairs, fraction, np.float32)) for fraction in FRACTIONS if pairs}
        return {fraction: as_bytes(np.asarray(drawn)) for fraction, drawn in each.items()}


def as_bytes(image: Num[np.ndarray, "*b h w c"]) -> UInt8[np.ndarray, "*b h w c"]:
    """Return images (uint8, uint16, or floats in [0, 1]) as 8 bits, rounded."""
    if image.dtype == np.uint8:
        return image
    scale = 255 / 65535 if image.dtype == np.uint16 else 255.0
    return np.round(scale * image.astype(np.float64)).clip(0, 255).astype(np.uint8)
