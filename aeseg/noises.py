"""Noises, the corruptions of a denoising autoencoder's input.

A noise is a frozen dataclass called with a key and one image [h w c] in [0, 1]; it returns an image of the same shape.  Its `task` is
the restoration that undoes it.
"""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from aeseg import images
from aeseg.checks import check_field
from aeseg.types import UserError

TASKS = ("denoise", "deblur", "inpaint", "superresolve")
"""Restorations, from the noise that hides least: a network that undoes several noises is named by the last."""


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """Adds normal noise of standard deviation `sigma`, unclipped (Vincent et al. 2010, section 3.3)."""

    task: ClassVar[str] = "denoise"
    sigma: float = 0.1

    def __post_init__(self) -> None:
        check_field("Gaussian", "sigma", self.sigma, self.sigma >= 0, "0 or more")

    def __call__(self, key: Key[Array, ""], image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        return image + self.sigma * jax.random.normal(key, image.shape)


@dataclasses.dataclass(frozen=True)
class SaltAndPepper:
    """Turns a fraction `share` of the pixels black or white, with equal probability (Vincent et al. 2010, section 3.3).

    Deviation: all channels of a pixel change together.
    """

    task: ClassVar[str] = "denoise"
    share: float = 0.1

    def __post_init__(self) -> None:
        check_field("SaltAndPepper", "share", self.share, 0 <= self.share <= 1, "0 to 1")

    def __call__(self, key: Key[Array, ""], image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        number = jax.random.uniform(key, (*image.shape[:2], 1))
        return jnp.where(number < self.share / 2, 0, jnp.where(number < self.share, 1, image))


@dataclasses.dataclass(frozen=True)
class Blur:
    """Blurs with a Gaussian of `sigma` pixels. Deterministic: the key is ignored."""

    task: ClassVar[str] = "deblur"
    sigma: float = 2.0

    def __post_init__(self) -> None:
        check_field("Blur", "sigma", self.sigma, self.sigma > 0, "more than 0")

    def __call__(self, key: Key[Array, ""], image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        return images.blurred(image[None], self.sigma)[0]


@dataclasses.dataclass(frozen=True)
class Squares:
    """Fills random squares of `size` pixels with grey (`fill`); they cover a fraction `share` of the image on average.

    Squares may overlap each other and the edge of the image, so every pixel is covered with the same probability.
    """

    task: ClassVar[str] = "inpaint"
    size: int = 8
    share: float = 0.5
    fill: float = 0.5

    def __post_init__(self) -> None:
        check_field("Squares", "size", self.size, self.size >= 1, "1 or more")
        check_field("Squares", "share", self.share, 0 <= self.share < 1, "0 or more and less than 1")

    def __call__(self, key: Key[Array, ""], image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        return jnp.where(self.hidden(key, *image.shape[:2])[..., None], self.fill, image)

    def hidden(self, key: Key[Array, ""], h: int, w: int) -> Bool[Array, "{h} {w}"]:
        """Mark the pixels that the squares cover."""
        number = self.number(h, w)
        rows = self._inside(jax.random.randint(jax.random.fold_in(key, 0), (number,), 1 - self.size, h), h)
        columns = self._inside(jax.random.randint(jax.random.fold_in(key, 1), (number,), 1 - self.size, w), w)
        return jnp.einsum("nh,nw->hw", rows, columns) > 0  # number of squares over each pixel

    def number(self, h: int, w: int) -> int:
        """Return the number of squares n: a pixel escapes one with probability 1 - p, and all with (1 - p)^n = 1 - share."""
        hit = self.size**2 / ((h + self.size - 1) * (w + self.size - 1))
        return 1 if hit >= 1 else round(math.log(1 - self.share) / math.log(1 - hit))

    def _inside(self, start: Int[Array, "n"], side: int) -> Float[Array, "n {side}"]:
        pixel = jnp.arange(side)[None]
        return ((pixel >= start[:, None]) & (pixel < start[:, None] + self.size)).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class Downsampled:
    """Shrinks by `factor`, rounds to 8 bits as a file of the small image does, and enlarges again; bicubic both ways.

    Deterministic: the key is ignored. The kernel (Keys 1981, a = -0.5; antialiased when it shrinks) and the treatment of edges are
    Pillow's. Height and width must be multiples of `factor`.
    """

    task: ClassVar[str] = "superresolve"
    factor: int = 2

    def __post_init__(self) -> None:
        check_field("Downsampled", "factor", self.factor, self.factor >= 2, "2 or more")

    def __call__(self, key: Key[Array, ""], image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        return self.enlarged(Rounded()(key, self.small(image)))

    def small(self, image: Float[Array, "h w c"]) -> Float[Array, "_ _ c"]:
        """Return the image shrunk by `factor`, unrounded."""
        h, w, c = image.shape
        if h % self.factor or w % self.factor:
            raise UserError(
                f"Expected an image whose sides {self.factor} divides; got {h} x {w}. Crop it, or change --config.window or the factor."
            )
        return jax.image.resize(image, (h // self.factor, w // self.factor, c), "cubic")

    def enlarged(self, image: Float[Array, "h w c"]) -> Float[Array, "_ _ c"]:
        """Return the image enlarged by `factor`; values may leave [0, 1] by a little."""
        h, w, c = image.shape
        return jax.image.resize(image, (h * self.factor, w * self.factor, c), "cubic")


@dataclasses.dataclass(frozen=True)
class Rounded:
    """Clips to [0, 1] and rounds to `bits`, as an image file does. Deterministic: the key is ignored."""

    task: ClassVar[str] = ""
    bits: int = 8

    def __post_init__(self) -> None:
        check_field("Rounded", "bits", self.bits, 1 <= self.bits <= 16, "1 to 16")

    def __call__(self, key: Key[Array, ""], image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        largest = 2**self.bits - 1
        return jnp.round(jnp.clip(image, 0, 1) * largest) / largest


Noise = Gaussian | SaltAndPepper | Blur | Squares | Downsampled | Rounded


def task(noise: tuple[Noise, ...]) -> str:
    """Return the restoration that undoes these noises, one of TASKS, or "" if there is none.

    >>> task((Blur(1.6), Gaussian(0.01), Rounded()))
    'deblur'
    """
    undone = {each.task for each in noise}
    return next((name for name in reversed(TASKS) if name in undone), "")


def corrupted(noise: tuple[Noise, ...], key: Key[Array, "b"], image: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Apply every noise in order. The noise of a row depends only on the key of the row."""

    def one(key: Key[Array, ""], image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        for number, each in enumerate(noise):
            image = each(jax.random.fold_in(key, number), image)
        return image

    return jax.vmap(one)(key, image)
