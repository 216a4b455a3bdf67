"""What is taken from an image before an encoder sees it.

A noise is a small frozen dataclass, called with a key and one image [h w c] in [0, 1]; it gives an image of that shape.
A sampler is one too, called with a key and the rows and columns of one image's units (patches, or squares of patches); it
gives which of them are `hidden`, always `count(h, w)` of them, so that shapes are known before anything is drawn.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from aeseg import images, keys
from aeseg.types import Batch, UserError


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """Adds normal noise of standard deviation `sigma`, unclipped (Vincent et al. 2010, section 3.3)."""

    sigma: float = 0.1

    def __post_init__(self) -> None:
        _check("Gaussian", "sigma", self.sigma, self.sigma >= 0, "0 or more")

    def __call__(self, key: Key[Array, ""], image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        return image + self.sigma * jax.random.normal(key, image.shape)


@dataclasses.dataclass(frozen=True)
class SaltAndPepper:
    """Makes a `share` of the pixels black or white, each with probability a half (Vincent et al. 2010, section 3.3).

    Deviation: a pixel's channels go together, so that no colour is made which the image lacks.
    """

    share: float = 0.1

    def __post_init__(self) -> None:
        _check("SaltAndPepper", "share", self.share, 0 <= self.share <= 1, "0 to 1")

    def __call__(self, key: Key[Array, ""], image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        number = jax.random.uniform(key, (*image.shape[:2], 1))
        return jnp.where(number < self.share / 2, 0, jnp.where(number < self.share, 1, image))


@dataclasses.dataclass(frozen=True)
class Blur:
    """Gaussian blur of `sigma` pixels; it needs no chance, and ignores its key."""

    sigma: float = 2.0

    def __post_init__(self) -> None:
        _check("Blur", "sigma", self.sigma, self.sigma > 0, "more than 0")

    def __call__(self, key: Key[Array, ""], image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        return images.blurred(image[None], self.sigma)[0]


@dataclasses.dataclass(frozen=True)
class Squares:
    """Paints squares of `size` pixels grey (`fill`) until, on average, a `share` of the image is gone.

    Squares fall anywhere, over each other and over the border too, so every pixel is as likely to go as any other.
    """

    size: int = 8
    share: float = 0.5
    fill: float = 0.5

    def __post_init__(self) -> None:
        _check("Squares", "size", self.size, self.size >= 1, "1 or more")
        _check("Squares", "share", self.share, 0 <= self.share < 1, "0 or more and less than 1")

    def __call__(self, key: Key[Array, ""], image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        return jnp.where(self.hidden(key, *image.shape[:2])[..., None], self.fill, image)

    def hidden(self, key: Key[Array, ""], h: int, w: int) -> Bool[Array, "{h} {w}"]:
        """The pixels that are painted over."""
        number = self.number(h, w)
        rows = self._inside(jax.random.randint(jax.random.fold_in(key, 0), (number,), 1 - self.size, h), h)
        columns = self._inside(jax.random.randint(jax.random.fold_in(key, 1), (number,), 1 - self.size, w), w)
        return jnp.einsum("nh,nw->hw", rows, columns) > 0  # how many squares lie on a pixel

    def number(self, h: int, w: int) -> int:
        """How many squares it takes: a pixel escapes one with probability 1 - p, all n with (1 - p)^n = 1 - share."""
        hit = self.size**2 / ((h + self.size - 1) * (w + self.size - 1))
        return 1 if hit >= 1 else round(math.log(1 - self.share) / math.log(1 - hit))

    def _inside(self, start: Int[Array, "n"], side: int) -> Float[Array, "n {side}"]:
        place = jnp.arange(side)[None]
        return ((place >= start[:, None]) & (place < start[:, None] + self.size)).astype(jnp.float32)


Noise = Gaussian | SaltAndPepper | Blur | Squares


def corrupted(noise: tuple[Noise, ...], key: Key[Array, "b"], image: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """The images after every noise in its order; a row's noise depends on that row's key alone."""

    def one(key: Key[Array, ""], image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        for place, each in enumerate(noise):
            image = each(jax.random.fold_in(key, place), image)
        return image

    return jax.vmap(one)(key, image)


@dataclasses.dataclass(frozen=True)
class Random:
    """Hides round(ratio * n) of the n units, any of them as likely as any other (He et al. 2022, section 3, "Masking").

    As there, the visible units are those with the smallest of n uniform numbers.
    """

    ratio: float = 0.75

    def __post_init__(self) -> None:
        _check_ratio("Random", self.ratio)

    def __call__(self, key: Key[Array, ""], h: int, w: int) -> Bool[Array, "{h} {w}"]:
        visible = h * w - self.count(h, w)
        return (_rank(jax.random.uniform(key, (h * w,))) >= visible).reshape(h, w)

    def count(self, h: int, w: int) -> int:
        """How many units are hidden."""
        return _hidden_count("Random", self.ratio, h, w)


@dataclasses.dataclass(frozen=True)
class Block:
    """Hides round(ratio * n) units in rectangles (Bao et al. 2022, "BEiT", algorithm 1; MAE's block-wise sampling, table 1f).

    Each rectangle has an area between `smallest` units and what is left to hide, and sides in a ratio of 0.3 to 1 / 0.3.
    Deviations: the ratio of the sides is uniform in its logarithm, as in BEiT's code; sides are cut to the grid; and the last
    rectangle loses its last units, so that every image has equally many hidden.
    """

    ratio: float = 0.5
    smallest: int = 16

    def __post_init__(self) -> None:
        _check_ratio("Block", self.ratio)
        _check("Block", "smallest", self.smallest, self.smallest >= 1, "1 or more")

    def __call__(self, key: Key[Array, ""], h: int, w: int) -> Bool[Array, "{h} {w}"]:
        count, none = self.count(h, w), jnp.iinfo(jnp.int32).max

        def more(carry: tuple[Array, Array]) -> Array:
            return jnp.sum(carry[1] < none) < count

        def add(carry: tuple[Array, Array]) -> tuple[Array, Array]:
            place, first = carry
            area, shape, top, left = jax.random.uniform(jax.random.fold_in(key, place), (4,))
            area = self.smallest + area * jnp.maximum(0, count - jnp.sum(first < none) - self.smallest)
            sides = jnp.exp(math.log(0.3) * (2 * shape - 1))
            rows = _between(jnp.sqrt(area * sides), top, h)
            columns = _between(jnp.sqrt(area / sides), left, w)
            new = (first == none) & rows[:, None] & columns[None]
            return place + 1, jnp.where(new, place, first)

        _, first = jax.lax.while_loop(more, add, (jnp.int32(0), jnp.full((h, w), none, jnp.int32)))
        return (_rank(first.reshape(-1)) < count).reshape(h, w)

    def count(self, h: int, w: int) -> int:
        """How many units are hidden."""
        return _hidden_count("Block", self.ratio, h, w)


@dataclasses.dataclass(frozen=True)
class Grid:
    """Hides the same 4 * ratio units of every 2x2: at 0.75 one of four stays (He et al. 2022, table 1f and figure 6).

    Which ones is drawn for each image; the paper does not say.
    """

    ratio: float = 0.75

    def __post_init__(self) -> None:
        _check("Grid", "ratio", self.ratio, self.ratio in (0.25, 0.5, 0.75), "0.25, 0.5 or 0.75")

    def __call__(self, key: Key[Array, ""], h: int, w: int) -> Bool[Array, "{h} {w}"]:
        self.count(h, w)  # raises for an odd side
        hidden = _rank(jax.random.uniform(key, (4,))) < round(4 * self.ratio)
        return jnp.tile(hidden.reshape(2, 2), (h // 2, w // 2))

    def count(self, h: int, w: int) -> int:
        """How many units are hidden."""
        if h % 2 or w % 2:
            raise UserError(
                f"Grid hides the same of every 2x2 units; the image has {h} x {w} of them. "
                "Take an image with an even number of units on both sides, or Random."
            )
        return h * w * round(4 * self.ratio) // 4


Sampler = Random | Block | Grid

HIDDEN_COLOUR = 0.5
"""What hidden units look like in pictures."""


def hidden_units(sampler: Sampler, key: Key[Array, "b"], h: int, w: int) -> Bool[Array, "b {h} {w}"]:
    """The hidden ones among h x w units of each image; a row's depend on that row's key alone."""
    return jax.vmap(lambda key: sampler(key, h, w))(key)


def hidden_in(sampler: Sampler, batch: Batch, unit: int, key: Key[Array, ""]) -> Bool[Array, "b _ _"]:
    """The hidden units, of `unit` pixels, of a batch's images; each row's by its place in the global batch."""
    _, h, w, _ = batch["image"].shape
    return hidden_units(sampler, keys.per_row(key, batch["index"]), *unit_grid(h, w, unit))


def pasted(
    image: Float[Array, "b h w c"], hidden: Bool[Array, "b _ _"], unit: int, other: Float[Array, "b h w c"]
) -> Float[Array, "b h w c"]:
    """The image with the pixels of another one under its hidden units."""
    return jnp.where(spread(hidden, unit)[..., None], other, image)


def columns(
    image: Float[Array, "b h w c"], hidden: Bool[Array, "b _ _"], unit: int, prediction: Float[Array, "b h w c"]
) -> dict[str, Array]:
    """Columns of pictures: the image, what the encoder sees, the hidden units given back, and all units given back."""
    return {
        "image": image,
        "visible": pasted(image, hidden, unit, jnp.full_like(image, HIDDEN_COLOUR)),
        "reconstruction": pasted(image, hidden, unit, prediction).clip(0, 1),
        "prediction": prediction.clip(0, 1),
    }


def spread(hidden: Bool[Array, "b h w"], times: int) -> Bool[Array, "b h*{times} w*{times}"]:
    """Each unit as `times` x `times` finer ones: units of 16 pixels as pixels with 16, as cells of stride 4 with 4."""
    return jnp.repeat(jnp.repeat(hidden, times, axis=1), times, axis=2)


def visible_first(hidden: Bool[Array, "b n"]) -> Int[Array, "b n"]:
    """The places of the visible ones, ascending, and then of the hidden ones."""
    return jnp.argsort(hidden, axis=1, stable=True)


def unit_grid(h: int, w: int, unit: int) -> tuple[int, int]:
    """The rows and columns of units of `unit` pixels in an image of h x w pixels."""
    if h % unit or w % unit:
        near = [max(1, round(side / unit)) * unit for side in (h, w)]
        raise UserError(
            f"Hidden units are {unit} x {unit} pixels; the image is {h} x {w}, which they do not fill. "
            f"Resize or crop it to {near[0]} x {near[1]}, or set the unit to a divisor of both sides."
        )
    return h // unit, w // unit


def _rank(values: Array) -> Int[Array, "n"]:
    """The place of each value in ascending order; equal ones keep theirs."""
    return jnp.argsort(jnp.argsort(values, stable=True), stable=True)


def _between(length: Float[Array, ""], place: Float[Array, ""], side: int) -> Bool[Array, "{side}"]:
    """Which of `side` units lie in a stretch of `length` (rounded) that starts at the share `place` of where it can."""
    length = jnp.clip(jnp.round(length), 1, side)
    start = jnp.floor(place * (side - length + 1))
    unit = jnp.arange(side)
    return (unit >= start) & (unit < start + length)


def _hidden_count(sampler: str, ratio: float, h: int, w: int) -> int:
    count = round(ratio * h * w)
    if not 0 < count < h * w:
        raise UserError(
            f"{sampler} hides {ratio:g} of {h} x {w} units, which is {'all' if count else 'none'} of them; some must be hidden and some "
            "visible. Change ratio, or take larger images or smaller units."
        )
    return count


def _check_ratio(sampler: str, ratio: float) -> None:
    _check(sampler, "ratio", ratio, 0 < ratio < 1, "more than 0 and less than 1")


def _check(noise: str, name: str, value: float | int, good: bool, expected: str) -> None:
    if not good:
        raise UserError(f"{noise} takes a {name} of {expected}; got {value}. Change {name} in the config.")
