"""Likelihoods of an image given a decoder's values: the distortion of a variational autoencoder.

All are log-probabilities of 8-bit images, in nats, summed over an image's numbers.  Bits per dimension are their negatives, divided by
log 2 and the number of numbers.  A density over [0, 1] is multiplied by 1/256, the width of a value's bin: with dequantised values, this
is a lower bound of the image's probability (Theis et al. 2016, section 3.1), so densities and masses are comparable.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from aeseg.types import UserError

LEVELS = 256
SMALLEST_VARIANCE = 1 / (12 * LEVELS**2)
"""Variance of dequantisation, which no decoder can predict."""


def gaussian(prediction: Float[Array, "b h w c"], target: Float[Array, "b h w c"], variance: Float[Array, ""]) -> Float[Array, "b"]:
    """Return log N(target; prediction, variance) for bins of 1/256: -(t - p)^2 / (2 v) - log(2 pi v) / 2 - log 256, summed."""
    error = jnp.sum(jnp.square(target - prediction), axis=(1, 2, 3))
    numbers = math.prod(target.shape[1:])
    return -error / (2 * variance) - numbers * (0.5 * jnp.log(2 * jnp.pi * variance) + math.log(LEVELS))


def bernoulli(logits: Float[Array, "b h w c"], target: Float[Array, "b h w c"]) -> Float[Array, "b"]:
    """Return t log s + (1 - t) log(1 - s) for s = sigmoid(logits), summed.  This is a log-probability only if t is 0 or 1."""
    return jnp.sum(target * logits - jax.nn.softplus(logits), axis=(1, 2, 3))


def logistic_mixture(values: Float[Array, "b h w n"], target: Float[Array, "b h w c"], mixtures: int) -> Float[Array, "b"]:
    """Return the log-probability of a discretised mixture of logistics (Salimans et al. 2017, equations 1 to 3), summed over pixels.

    All channels of a pixel share the mixture component.  A channel's mean depends linearly on the earlier channels, with separate
    coefficients for each component (equation 3).  A bin extends half a level to each side of a value; the first and last bins extend to
    infinity.  Log scales are at least -7, for values in [-1, 1], as in the authors' code.
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
    """Independent normal distributions around the sigmoid of the decoder's values, with one standard deviation.

    sigma   standard deviation; 0: the optimal value, the root of the mean squared error (Rybkin et al. 2021, section 4)
    """

    sigma: float = 0.0

    def __post_init__(self) -> None:
        if self.sigma < 0:
            raise UserError(f"Gaussian takes a sigma of 0 (the optimal one) or more; got {self.sigma}. Change sigma in the config.")

    @property
    def finds_variance(self) -> bool:
        return self.sigma == 0

    def numbers(self, channels: int) -> int:
        """Return the number of values that the decoder must return for a pixel."""
        return channels

    def target(self, key: Key[Array, "b"], image: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Return the dequantised image: levels k / 255 become uniform on k / 256 .. (k + 1) / 256."""
        noise = jax.vmap(lambda key, image: jax.random.uniform(key, image.shape))(key, image)
        return (image * (LEVELS - 1) + noise) / LEVELS

    def log_probability(
        self, values: Float[Array, "b h w n"], target: Float[Array, "b h w c"], variance: Float[Array, ""]
    ) -> Float[Array, "b"]:
        """Return the log-probability of each image in nats; the optimal `variance` is not used if `sigma` is set."""
        fixed = variance if self.finds_variance else jnp.float32(self.sigma**2)
        return gaussian(self.mean(values, target.shape[-1]), target, jnp.maximum(fixed, SMALLEST_VARIANCE))

    def mean(self, values: Float[Array, "b h w n"], channels: int) -> Float[Array, "b h w {channels}"]:
        """Return the most likely image."""
        return jax.nn.sigmoid(values)


@dataclass(frozen=True)
class Bernoulli:
    """Independent Bernoulli distributions, for black and white images.  Other values are used as targets, but then bits are no bound."""

    finds_variance = False

    def numbers(self, channels: int) -> int:
        """Return the number of values that the decoder must return for a pixel."""
        return channels

    def target(self, key: Key[Array, "b"], image: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Return the image."""
        return image

    def log_probability(
        self, values: Float[Array, "b h w n"], target: Float[Array, "b h w c"], variance: Float[Array, ""]
    ) -> Float[Array, "b"]:
        """Return the log-probability of each image in nats; `variance` is not used."""
        return bernoulli(values, target)

    def mean(self, values: Float[Array, "b h w n"], channels: int) -> Float[Array, "b h w {channels}"]:
        """Return the probability of white."""
        return jax.nn.sigmoid(values)


@dataclass(frozen=True)
class LogisticMixture:
    """Discretised mixtures of logistics, exact probabilities of 8-bit values (Salimans et al. 2017, section 2.1).

    The decoder returns `mixtures` x (1 + 2 c + c (c - 1) / 2) numbers for a pixel of c channels: 100 for RGB and 10 components.
    """

    mixtures: int = 10

    finds_variance = False

    def __post_init__(self) -> None:
        if self.mixtures < 1:
            raise UserError(f"LogisticMixture needs 1 or more mixtures; got {self.mixtures}. Change mixtures in the config.")

    def numbers(self, channels: int) -> int:
        """Return the number of values that the decoder must return for a pixel."""
        return self.mixtures * (1 + 2 * channels + channels * (channels - 1) // 2)

    def target(self, key: Key[Array, "b"], image: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Return the image."""
        return image

    def log_probability(
        self, values: Float[Array, "b h w n"], target: Float[Array, "b h w c"], variance: Float[Array, ""]
    ) -> Float[Array, "b"]:
        """Return the log-probability of each image in nats; every component has its own scale, so `variance` is not used."""
        return logistic_mixture(values, target, self.mixtures)

    def mean(self, values: Float[Array, "b h w n"], channels: int) -> Float[Array, "b h w {channels}"]:
        """Return the mean of the mixture, each channel given the means of earlier channels."""
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
    """Return (logits of the components, their means given the image's earlier channels, their log scales)."""
    channels = image.shape[-1]
    weights, parameters = values[..., :mixtures], values[..., mixtures:]
    parameters = parameters.reshape(*values.shape[:3], mixtures, -1)  # means, log scales, coefficients
    means, scales = parameters[..., :channels], jnp.maximum(parameters[..., channels : 2 * channels], -7)
    coefficients = jnp.tanh(parameters[..., 2 * channels :])
    conditional = [means[..., channel] for channel in range(channels)]
    pairs = [(channel, before) for channel in range(channels) for before in range(channel)]
    for pair, (channel, before) in enumerate(pairs):
        conditional[channel] += coefficients[..., pair] * (2 * image[..., before] - 1)[..., None]
    return weights, jnp.stack(conditional, axis=-1), scales  # stacked, because a CPU adds at an index one number at a time
