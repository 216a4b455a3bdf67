"""Selective masking: hide the units that the network reconstructs worst."""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from aeseg import masking
from aeseg.checks import check_field

Error = Callable[[Bool[Array, "b h w"]], Float[Array, "b h w"]]
"""Maps hidden units to the error of each hidden unit; the numbers of visible units are not used."""


@dataclasses.dataclass(frozen=True)
class Selective(masking.Random):
    """Hides as many units as `Random`; in training, a fraction `hard` of them are the units of the highest error, others are random.

    Wang and Stavness 2025 (arXiv 2512.06981) hide the patches of the highest reconstruction loss; Wang et al. 2023 ("HPM", arXiv
    2304.05919) hide patches of a high predicted loss beside random ones.  Evaluation hides random units, so that its numbers compare with
    those of other samplers.

    Deviations: the errors are those of the network itself at this step, in evaluation mode, over ceil(1 / ratio) masks that together
    hide each unit (2512.06981: the network of the last of a few iterations; HPM: a predictor, trained with the error of a teacher); hard
    is constant (HPM: from easy to hard).  A step costs these masks' forward passes more.
    """

    ratio: float = 0.75
    hard: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_field("Selective", "hard", self.hard, 0 <= self.hard <= 1, "0 to 1")

    def by_error(self, key: Key[Array, "b"], h: int, w: int, error: Error) -> Bool[Array, "b {h} {w}"]:
        """Return the hidden units of each image: those of the highest error, then random units up to `count`."""
        units, count = h * w, self.count(h, w)
        rank = _ranks(jax.vmap(lambda row: _numbers(row, 0, units))(key))
        chance = jax.vmap(lambda row: _numbers(row, 1, units))(key)
        total = times = jnp.zeros((len(key), h, w))
        for part in range(math.ceil(units / count)):
            first = min(part * count, units - count)
            hidden = ((rank >= first) & (rank < first + count)).reshape(-1, h, w)
            total, times = total + jnp.where(hidden, error(hidden), 0), times + hidden
        worst = _ranks(jax.lax.stop_gradient(total / times).reshape(-1, units)) >= units - round(self.hard * count)
        return (_ranks(jnp.where(worst, 1 + chance, chance)) >= units - count).reshape(-1, h, w)


def _numbers(key: Key[Array, ""], part: int, units: int) -> Float[Array, "n"]:
    return jax.random.uniform(jax.random.fold_in(key, part), (units,))


def _ranks(values: Float[Array, "b n"]) -> Array:
    """Return the rank of each value among its row, ascending."""
    return jnp.argsort(jnp.argsort(values, axis=1, stable=True), axis=1, stable=True)
