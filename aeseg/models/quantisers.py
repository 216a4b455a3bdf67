"""Quantisers: map features to the nearest of finitely many vectors; the bottleneck of `quantised`.

A quantiser reads values [b h w d] of its `width` d and returns the rounded values, their codes, and each image's commitment error.  The
gradient of the rounding is the identity (straight-through, Bengio et al. 2013).  `vectors(codes)` looks up codes.
"""

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from aeseg import keys
from aeseg.models import running
from aeseg.types import UserError


class Quantised(NamedTuple):
    """The result of a quantiser: the rounded values, the code of each position, and the commitment error of each image."""

    values: Float[Array, "b h w d"]
    codes: Int[Array, "b h w"]
    commitment: Float[Array, "b"]


class FiniteScalar(nn.Module):
    """Finite scalar quantisation (Mentzer et al. 2024, section 3.1): each channel is rounded to one of a few levels.

    Tanh bounds channel i, which is rounded to `levels[i]` integers and divided by floor(levels / 2).  The codebook consists of all
    combinations and has no parameters.  Deviation: the shift of even levels is atanh(0.5 / half), which maps 0 to 0; the paper's listing
    has tan.

    levels   number of levels of each channel
    """

    levels: tuple[int, ...] = (8, 5, 5, 5)

    commitment = 0.0

    def __post_init__(self) -> None:
        if not self.levels or min(self.levels) < 3:
            raise UserError(f"FiniteScalar needs 3 or more levels in every channel; got {tuple(self.levels)}. Change levels in the config.")
        super().__post_init__()

    @property
    def width(self) -> int:
        """Return the number of quantised channels."""
        return len(self.levels)

    @property
    def size(self) -> int:
        """Return the number of codes."""
        return math.prod(self.levels)

    def __call__(self, values: Float[Array, "b h w d"], valid: Bool[Array, "b"], index: Int[Array, "b"], *, train: bool) -> Quantised:
        levels = jnp.asarray(self.levels, jnp.float32).reshape(1, 1, 1, -1)
        half, offset = (levels - 1) * (1 - 1e-3) / 2, jnp.where(levels % 2 == 0, 0.5, 0.0)
        bounded = jnp.tanh(values.astype(jnp.float32) + jnp.arctanh(offset / half)) * half - offset
        rounded = jnp.round(bounded)
        width = levels // 2
        codes = jnp.sum((rounded + width).astype(jnp.int32) * self._basis().reshape(1, 1, 1, -1), axis=-1)
        return Quantised(_straight_through(bounded, rounded) / width, codes, jnp.zeros(values.shape[0]))

    def vectors(self, codes: Int[Array, "*n"]) -> Float[Array, "*n d"]:
        """Return the quantised values of codes."""
        levels = np.asarray(self.levels).reshape((1,) * codes.ndim + (-1,))
        digits = codes[..., None] // self._basis().reshape(levels.shape) % levels
        return (digits - levels // 2).astype(jnp.float32) / (levels // 2).astype(np.float32)

    def _basis(self) -> np.ndarray:
        return np.cumprod([1, *self.levels[:-1]]).astype(np.int32)


class Codebook(NamedTuple):
    """The state of `NearestVector`; its collection has these names.

    `uses` is the decayed number of values nearest to a vector, `totals` their decayed sum; `pending_*` are the same for the newest step.
    `candidates` replace dead vectors; candidates with `priority` below 0 are empty.
    """

    vectors: Float[Array, "k d"]
    uses: Float[Array, "k"]
    totals: Float[Array, "k d"]
    pending_uses: Float[Array, "k"]
    pending_totals: Float[Array, "k d"]
    candidates: Float[Array, "k d"]
    priority: Float[Array, "k"]


class NearestVector(nn.Module):
    """VQ-VAE's codebook (van den Oord et al. 2017, section 3.1); its vectors are running means of their values (appendix A.1).

    size         number of codes
    width        number of quantised channels
    decay        gamma of the running means, equations 6 to 8
    commitment   beta of the commitment error, equation 3: ||z - sg(e)||^2, averaged over its numbers
    dead         a vector whose use falls below this fraction of the mean use is replaced by a random value of the last step (as in
                 Dhariwal et al. 2020, "Jukebox", section 3.1); so a new codebook starts from data

    The codebook is updated between steps (see `aeseg.models.running`), so it does not depend on microbatches or devices.
    """

    size: int = 512
    width: int = 16
    decay: float = 0.99
    commitment: float = 0.25
    dead: float = 0.1

    def __post_init__(self) -> None:
        if self.size < 2 or self.width < 1:
            raise UserError(f"NearestVector needs 2 or more vectors of 1 or more numbers; got {self.size} of {self.width}. Change these.")
        if not 0 <= self.decay < 1 or not 0 <= self.dead < 1:
            raise UserError(f"decay and dead are 0 or more and less than 1; got {self.decay} and {self.dead}. Change them in the config.")
        super().__post_init__()

    def setup(self) -> None:
        self.state = self.variable("codebook", "state", lambda: self._fresh()._asdict())

    def __call__(self, values: Float[Array, "b h w d"], valid: Bool[Array, "b"], index: Int[Array, "b"], *, train: bool) -> Quantised:
        values, book = values.astype(jnp.float32), Codebook(**self.state.value)
        book = running.opened(index, book, self._settled) if train else self._settled(book)
        flat = jax.lax.stop_gradient(values).reshape(-1, self.width)
        codes = nearest(flat, book.vectors)
        if train:
            self.state.value = self._with_pending(book, flat, codes, valid, index)._asdict()
        vectors = jnp.take(book.vectors, codes, axis=0).reshape(values.shape)
        commitment = jnp.mean(jnp.square(values - vectors), axis=(1, 2, 3))
        return Quantised(_straight_through(values, vectors), codes.reshape(values.shape[:3]), commitment)

    def vectors(self, codes: Int[Array, "*n"]) -> Float[Array, "*n d"]:
        """Return the vectors of codes."""
        return jnp.take(self._settled(Codebook(**self.state.value)).vectors, codes, axis=0)

    def _fresh(self) -> Codebook:
        vectors, zeros = jax.random.normal(self.make_rng("params"), (self.size, self.width)), jnp.zeros((self.size, self.width))
        return Codebook(vectors, zeros[:, 0], zeros, zeros[:, 0], zeros, zeros, zeros[:, 0] - 1)

    def _settled(self, book: Codebook) -> Codebook:
        """Apply the pending step (equations 6 to 8) and replace dead vectors; without a pending step, return the codebook."""
        uses = running.decayed(book.uses, book.pending_uses, self.decay)
        totals = running.decayed(book.totals, book.pending_totals, self.decay)
        mean = jnp.sum(uses) / self.size
        replaced = (uses < self.dead * mean) & (book.priority >= 0)
        vectors = jnp.where((uses > 0)[:, None], totals / jnp.where(uses > 0, uses, 1)[:, None], book.vectors)
        moved = Codebook(
            vectors=jnp.where(replaced[:, None], book.candidates, vectors),
            uses=jnp.where(replaced, mean, uses),
            totals=jnp.where(replaced[:, None], mean * book.candidates, totals),
            pending_uses=jnp.zeros_like(uses),
            pending_totals=jnp.zeros_like(totals),
            candidates=jnp.zeros_like(totals),
            priority=jnp.full_like(uses, -1),
        )
        stepped = jnp.sum(book.pending_uses) > 0
        return jax.tree.map(lambda new, old: jnp.where(stepped, new, old), moved, book)

    def _with_pending(
        self, book: Codebook, values: Float[Array, "n d"], codes: Int[Array, "n"], valid: Bool[Array, "b"], index: Int[Array, "b"]
    ) -> Codebook:
        """Count these values in the codebook; the step's values with the highest random priority are candidates."""
        positions = values.shape[0] // valid.shape[0]
        counted = jnp.repeat(valid, positions)
        chosen = jax.nn.one_hot(codes, self.size) * counted[:, None]  # n k
        totals = jnp.einsum("nk,nd->kd", chosen, values, precision=jax.lax.Precision.HIGHEST)
        rows = keys.per_row(self.make_rng("sample"), index)
        drawn = jax.vmap(lambda key: jax.random.uniform(key, (positions,)))(rows).reshape(-1)
        priority, kept = jax.lax.top_k(jnp.concatenate([book.priority, jnp.where(counted, drawn, -1.0)]), self.size)
        return book._replace(
            pending_uses=book.pending_uses + jnp.sum(chosen, axis=0),
            pending_totals=book.pending_totals + totals,
            candidates=jnp.take(jnp.concatenate([book.candidates, values]), kept, axis=0),
            priority=priority,
        )


Quantiser = FiniteScalar | NearestVector


def nearest(values: Float[Array, "n d"], vectors: Float[Array, "k d"]) -> Int[Array, "n"]:
    """Return the index of the nearest vector to each value (van den Oord et al. 2017, equation 1), the first of equals."""
    product = jnp.einsum("nd,kd->nk", values, vectors, precision=jax.lax.Precision.HIGHEST)
    return jnp.argmin(jnp.sum(jnp.square(vectors), axis=1)[None] - 2 * product, axis=1).astype(jnp.int32)


def _straight_through(values: Array, rounded: Array) -> Array:
    return values + jax.lax.stop_gradient(rounded - values)
