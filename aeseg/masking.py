"""What is taken from an image before an encoder sees it.

A noise is a small frozen dataclass, called with a key and one image [h w c] in [0, 1]; it gives an image of that shape.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from aeseg import images
from aeseg.types import UserError


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


def _check(noise: str, name: str, value: float | int, good: bool, expected: str) -> None:
    if not good:
        raise UserError(f"{noise} takes a {name} of {expected}; got {value}. Change {name} in the config.")
