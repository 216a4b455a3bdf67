"""How probable an image is, given what a decoder says: the distortion of a variational autoencoder.

All are log-probabilities of images of 8 bits, in nats, summed over an image's numbers; minus them, over log 2 and the number of
numbers, are bits per dimension.  A density over [0, 1] is multiplied by 1/256, the width of a value's bin: with dequantised values
this bounds the probability of the image from below (Theis et al. 2016, section 3.1), so densities and masses can be compared.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from aeseg.types import UserError

LEVELS = 256
SMALLEST_VARIANCE = 1 / (12 * LEVELS**2)
"""The variance of dequantisation, which nothing can predict."""


def gaussian(prediction: Float[Array, "b h w c"], target: Float[Array, "b h w c"], variance: Float[Array, ""]) -> Float[Array, "b"]:
    """log N(target; prediction, variance), of a bin of 1/256: -(t - p)^2 / (2 v) - log(2 pi v) / 2 - log 256, summed."""
    error = jnp.sum(jnp.square(target - prediction), axis=(1, 2, 3))
    numbers = math.prod(target.shape[1:])
    return -error / (2 * variance) - numbers * (0.5 * jnp.log(2 * jnp.pi * variance) + math.log(LEVELS))


def bernoulli(logits: Float[Array, "b h w c"], target: Float[Array, "b h w c"]) -> Float[Array, "b"]:
    """t log s + (1 - t) log(1 - s) for s = sigmoid(logits), summed.  A probability for t of 0 and 1 only, else a score."""
    return jnp.sum(target * logits - jax.nn.softplus(logits), axis=(1, 2, 3))


def logistic_mixture(values: Float[Array, "b h w n"], target: Float[Array, "b h w c"], mixtures: int) -> Float[Array, "b"]:
    """Discretised mixture of logistics (Salimans et al. 2017, equations 1 to 3), summed over pixels.

    A pixel's mixture component is common to its channels.  The mean of a channel depends linearly on the channels before it, by
    coefficients of their own for each component (equation 3).  Bins end half a level beside each value; the first and last reach
    to infinity.  Log scales are at least -7, in the unit of values in [-1, 1], as in the authors' code.
    """
    weights, means, scales = _mixture(values, target, mixtures)
    value = (2 * target - 1)[..., None, :]  # b h w 1 c, in [-1, 1]
    centred, inverse, half = value - means, jnp.exp(-scales), 1 / (LEVELS - 1)
    above, below = inverse * (centred + half), inverse * (centred - half)
    mass = jax.nn.sigmoid(above) - jax.nn.sigmoid(below)
    density = inverse * centred - scales - 2 * jax.nn.softplus(inverse * centred) + math.log(2 * half)
    inner = jnp.where(mass > 1e-5, jnp.log(jnp.maximum(mass, 1e-12)), density)
    each = jnp.where(value < -1 + half, jax.nn.log_sigmoid(above), jnp.where(value > 1 - half, jax.nn.log_sigmoid(-below), inner))
    return jnp.sum(jax.nn.logsumexp(jnp.sum(each, axis=-1) + jax.nn.log_softmax(weights, axis=-1), axis=-1), axis=(1, 2))


@dataclass(frozen=True)
class Gaussian:
    """Independent normal distributions around a sigmoid of the decoder's values, all of one standard deviation.

    sigma   the standard deviation; 0: the optimal one, whose square is the mean squared error (Rybkin et al. 2021, section 4)
    """

    sigma: float = 0.0

    def __post_init__(self) -> None:
        if self.sigma < 0:
            raise UserError(f"Gaussian takes a sigma of 0 (the optimal one) or more; got {self.sigma}. Change sigma in the config.")

    @property
    def finds_variance(self) -> bool:
        return self.sigma == 0

    def numbers(self, channels: int) -> int:
        """The numbers of a pixel that the decoder must give."""
        return channels

    def target(self, key: Key[Array, "b"], image: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Return the image with its levels k / 255 spread evenly over k / 256 .. (k + 1) / 256."""
        noise = jax.vmap(lambda key, image: jax.random.uniform(key, image.shape))(key, image)
        return (image * (LEVELS - 1) + noise) / LEVELS

    def log_probability(
        self, values: Float[Array, "b h w n"], target: Float[Array, "b h w c"], variance: Float[Array, ""]
    ) -> Float[Array, "b"]:
        """Of each image, in nats; `variance` is the optimal one, and is not used if `sigma` is given."""
        fixed = variance if self.finds_variance else jnp.float32(self.sigma**2)
        return gaussian(self.mean(values, target.shape[-1]), target, jnp.maximum(fixed, SMALLEST_VARIANCE))

    def mean(self, values: Float[Array, "b h w n"], channels: int) -> Float[Array, "b h w {channels}"]:
        """The most likely image."""
        return jax.nn.sigmoid(values)


@dataclass(frozen=True)
class Bernoulli:
    """Independent coins, for images of black and white; other values are taken as probabilities, and bits then bound nothing."""

    finds_variance = False

    def numbers(self, channels: int) -> int:
        """The numbers of a pixel that the decoder must give."""
        return channels

    def target(self, key: Key[Array, "b"], image: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The image itself."""
        return image

    def log_probability(
        self, values: Float[Array, "b h w n"], target: Float[Array, "b h w c"], variance: Float[Array, ""]
    ) -> Float[Array, "b"]:
        """Of each image, in nats; coins have no `variance`."""
        return bernoulli(values, target)

    def mean(self, values: Float[Array, "b h w n"], channels: int) -> Float[Array, "b h w {channels}"]:
        """The probability of white."""
        return jax.nn.sigmoid(values)


@dataclass(frozen=True)
class LogisticMixture:
    """Discretised mixtures of logistics, exact probabilities of 8-bit values (Salimans et al. 2017, section 2.1).

    The decoder gives `mixtures` x (1 + 2 c + c (c - 1) / 2) numbers for a pixel of c channels: 100 for RGB and 10 components.
    """

    mixtures: int = 10

    finds_variance = False

    def __post_init__(self) -> None:
        if self.mixtures < 1:
            raise UserError(f"LogisticMixture needs 1 or more mixtures; got {self.mixtures}. Change mixtures in the config.")

    def numbers(self, channels: int) -> int:
        """The numbers of a pixel that the decoder must give."""
        return self.mixtures * (1 + 2 * channels + channels * (channels - 1) // 2)

    def target(self, key: Key[Array, "b"], image: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The image itself."""
        return image

    def log_probability(
        self, values: Float[Array, "b h w n"], target: Float[Array, "b h w c"], variance: Float[Array, ""]
    ) -> Float[Array, "b"]:
        """Of each image, in nats; every component has a scale of its own, so `variance` is not used."""
        return logistic_mixture(values, target, self.mixtures)

    def mean(self, values: Float[Array, "b h w n"], channels: int) -> Float[Array, "b h w {channels}"]:
        """The mean of the mixture, each channel given the means of those before it."""
        weights = jax.nn.softmax(values[..., : self.mixtures].astype(jnp.float32), axis=-1)
        image = jnp.full((*values.shape[:3], channels), 0.5)
        for channel in range(channels):
            _, means, _ = _mixture(values, image, self.mixtures)
            image = image.at[..., channel].set(jnp.clip(jnp.sum(weights * means[..., channel], axis=-1), -1, 1) / 2 + 0.5)
        return image


Likelihood = Gaussian | Bernoulli | LogisticMixture


def _mixture(
    values: Float[Array, "b h w n"], image: Float[Array, "b h w c"], mixtures: int
) -> tuple[Float[Array, "b h w {mixtures}"], Float[Array, "b h w {mixtures} c"], Float[Array, "b h w {mixtures} c"]]:
    """(logits of the components, their means given the image's earlier channels, their log scales)."""
    channels = image.shape[-1]
    weights, parameters = values[..., :mixtures], values[..., mixtures:]
    parameters = parameters.reshape(*values.shape[:3], mixtures, -1)  # means, log scales, coefficients
    means, scales = parameters[..., :channels], jnp.maximum(parameters[..., channels : 2 * channels], -7)
    coefficients = jnp.tanh(parameters[..., 2 * channels :])
    pairs = [(channel, before) for channel in range(channels) for before in range(channel)]
    for place, (channel, before) in enumerate(pairs):
        earlier = (2 * image[..., before] - 1)[..., None]
        means = means.at[..., channel].add(coefficients[..., place] * earlier)
    return weights, means, scales
