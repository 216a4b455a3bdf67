"""Samplers of hidden units, for masked autoencoders, and the arithmetic of hidden and visible units.

A sampler is a frozen dataclass called with a key and the numbers of rows and columns of units (patches, or squares of patches);
it returns a boolean array that marks the `hidden` units, always `count(h, w)` of them, so that shapes are static.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from aeseg import keys
from aeseg.checks import check_field
from aeseg.types import Batch, UserError


@dataclasses.dataclass(frozen=True)
class Random:
    """Hides round(ratio * n) of the n units, chosen uniformly (He et al. 2022, section 3, "Masking"); SparK's code rounds so, too.

    As in the paper's code, the visible units have the smallest of n uniform random numbers.

    ratio   fraction of hidden units
    """

    ratio: float = 0.75

    def __post_init__(self) -> None:
        _check_ratio(type(self).__name__, self.ratio)

    def __call__(self, key: Key[Array, ""], h: int, w: int) -> Bool[Array, "{h} {w}"]:
        return _largest(key, self.count(h, w), h, w)

    def count(self, h: int, w: int) -> int:
        """Return the number of hidden units."""
        return _hidden_count("Random", self.ratio, h, w)


@dataclasses.dataclass(frozen=True)
class RandomUp(Random):
    """Hides ceil(ratio * n) units as `Random` does: the code of MAE and FCMAE rounds visible units down, that of SimMIM hidden ones up."""

    def count(self, h: int, w: int) -> int:
        """Return the number of hidden units."""
        return _hidden_count("RandomUp", self.ratio, h, w, lambda number: math.ceil(number - 1e-9))


@dataclasses.dataclass(frozen=True)
class Block:
    """Hides round(ratio * n) units in rectangles (Bao et al. 2022, "BEiT", algorithm 1; MAE's block-wise sampling, table 1f).

    The area of a rectangle lies between `smallest` and the number of units left to hide, its aspect ratio between 0.3 and
    1 / 0.3. Deviations: the logarithm of the aspect ratio is uniform, as in BEiT's code; sides are clipped to the grid; the last
    rectangle loses its last units, so that every image hides the same number.
    """

    ratio: float = 0.5
    smallest: int = 16

    def __post_init__(self) -> None:
        _check_ratio("Block", self.ratio)
        check_field("Block", "smallest", self.smallest, self.smallest >= 1, "1 or more")

    def __call__(self, key: Key[Array, ""], h: int, w: int) -> Bool[Array, "{h} {w}"]:
        count, none = self.count(h, w), jnp.iinfo(jnp.int32).max

        def more(carry: tuple[Array, Array]) -> Array:
            return jnp.sum(carry[1] < none) < count

        def add(carry: tuple[Array, Array]) -> tuple[Array, Array]:
            number, first = carry  # of rectangles; of the rectangle that hides each unit
            area, shape, top, left = jax.random.uniform(jax.random.fold_in(key, number), (4,))
            area = self.smallest + area * jnp.maximum(0, count - jnp.sum(first < none) - self.smallest)
            sides = jnp.exp(math.log(0.3) * (2 * shape - 1))
            rows = _between(jnp.sqrt(area * sides), top, h)
            columns = _between(jnp.sqrt(area / sides), left, w)
            new = (first == none) & rows[:, None] & columns[None]
            return number + 1, jnp.where(new, number, first)

        _, first = jax.lax.while_loop(more, add, (jnp.int32(0), jnp.full((h, w), none, jnp.int32)))
        return (_rank(first.reshape(-1)) < count).reshape(h, w)

    def count(self, h: int, w: int) -> int:
        """Return the number of hidden units."""
        return _hidden_count("Block", self.ratio, h, w)


@dataclasses.dataclass(frozen=True)
class Grid:
    """Hides the same 4 * ratio units of every 2x2 square: at 0.75 one of four stays visible (He et al. 2022, table 1f, figure 6).

    The hidden positions are drawn per image; the paper does not specify them.
    """

    ratio: float = 0.75

    def __post_init__(self) -> None:
        check_field("Grid", "ratio", self.ratio, self.ratio in (0.25, 0.5, 0.75), "0.25, 0.5 or 0.75")

    def __call__(self, key: Key[Array, ""], h: int, w: int) -> Bool[Array, "{h} {w}"]:
        self.count(h, w)  # raises if a side is odd
        hidden = _rank(jax.random.uniform(key, (4,))) < round(4 * self.ratio)
        return jnp.tile(hidden.reshape(2, 2), (h // 2, w // 2))

    def count(self, h: int, w: int) -> int:
        """Return the number of hidden units."""
        if h % 2 or w % 2:
            raise UserError(
                f"Grid hides the same units of every 2x2 square; the image has {h} x {w} units. "
                "Use an image with an even number of units on both sides, or Random."
            )
        return h * w * round(4 * self.ratio) // 4


Sampler = Random | RandomUp | Block | Grid

HIDDEN_COLOUR = 0.5
"""Grey level of hidden units in pictures."""


def hidden_units(sampler: Sampler, key: Key[Array, "b"], h: int, w: int) -> Bool[Array, "b {h} {w}"]:
    """Sample the hidden units, of h x w, of each image. Those of a row depend only on the key of the row."""
    return jax.vmap(lambda key: sampler(key, h, w))(key)


def hidden_in(
    sampler: Sampler, batch: Batch, unit: int, key: Key[Array, ""], error: Callable[..., Array] | None = None
) -> Bool[Array, "b _ _"]:
    """Sample the hidden units, of `unit` pixels, of a batch; the key of a row depends on its `index`.

    A sampler with `by_error` (aeseg/selective.py) gets `error`, in training: the error of each unit of a mask.
    """
    _, h, w, _ = batch["image"].shape
    rows, grid = keys.per_row(key, batch["index"]), unit_grid(h, w, unit)
    if error is not None and hasattr(sampler, "by_error"):
        return sampler.by_error(rows, *grid, error)
    return hidden_units(sampler, rows, *grid)


def pasted(
    image: Float[Array, "b h w c"], hidden: Bool[Array, "b _ _"], unit: int, other: Float[Array, "b h w c"]
) -> Float[Array, "b h w c"]:
    """Replace the pixels of the hidden units by those of another image."""
    return jnp.where(spread(hidden, unit)[..., None], other, image)


def columns(
    image: Float[Array, "b h w c"], hidden: Bool[Array, "b _ _"], unit: int, prediction: Float[Array, "b h w c"]
) -> dict[str, Array]:
    """Return the columns of a picture: the image, its visible part, the reconstruction of hidden units, and of all units."""
    return {
        "image": image,
        "visible": pasted(image, hidden, unit, jnp.full_like(image, HIDDEN_COLOUR)),
        "reconstruction": pasted(image, hidden, unit, prediction).clip(0, 1),
        "prediction": prediction.clip(0, 1),
    }


def spread(hidden: Bool[Array, "b h w"], times: int) -> Bool[Array, "b h*{times} w*{times}"]:
    """Repeat each unit `times` along both axes: 16 turns units of 16 pixels into pixels, 4 into cells of stride 4."""
    return jnp.repeat(jnp.repeat(hidden, times, axis=1), times, axis=2)


def visible_first(hidden: Bool[Array, "b n"]) -> Int[Array, "b n"]:
    """Return the positions of the visible units, ascending, followed by those of the hidden units."""
    return jnp.argsort(hidden, axis=1, stable=True)


def unit_grid(h: int, w: int, unit: int) -> tuple[int, int]:
    """Return the numbers of rows and columns of units of `unit` pixels in an image of h x w pixels.

    >>> unit_grid(64, 96, 16)
    (4, 6)
    """
    if h % unit or w % unit:
        near = [max(1, round(side / unit)) * unit for side in (h, w)]
        raise UserError(
            f"Hidden units are {unit} x {unit} pixels; they do not tile the image of {h} x {w}. "
            f"Resize or crop it to {near[0]} x {near[1]}, or set the unit to a divisor of both sides."
        )
    return h // unit, w // unit


def _rank(values: Array) -> Int[Array, "n"]:
    """Return the rank of each value in ascending order; equal values keep their order."""
    return jnp.argsort(jnp.argsort(values, stable=True), stable=True)


def _between(length: Float[Array, ""], offset: Float[Array, ""], side: int) -> Bool[Array, "{side}"]:
    """Mark an interval of `length` (rounded) among `side` units; `offset`, in [0, 1), chooses its start among the possible ones."""
    length = jnp.clip(jnp.round(length), 1, side)
    start = jnp.floor(offset * (side - length + 1))
    unit = jnp.arange(side)
    return (unit >= start) & (unit < start + length)


def _largest(key: Key[Array, ""], count: int, h: int, w: int) -> Bool[Array, "{h} {w}"]:
    """Mark the units with the `count` largest of h * w uniform random numbers."""
    return (_rank(jax.random.uniform(key, (h * w,))) >= h * w - count).reshape(h, w)


def _hidden_count(sampler: str, ratio: float, h: int, w: int, rounded: Callable[[float], int] = round) -> int:
    count = rounded(ratio * h * w)
    if not 0 < count < h * w:
        raise UserError(
            f"{sampler} must hide some units and leave some visible; ratio {ratio:g} of {h} x {w} hides {'all' if count else 'none'}. "
            "Change ratio, or use larger images or smaller units."
        )
    return count


def _check_ratio(sampler: str, ratio: float) -> None:
    check_field(sampler, "ratio", ratio, 0 < ratio < 1, "more than 0 and less than 1")
