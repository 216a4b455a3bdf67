"""The variational autoencoder: a lower bound on an image's probability, with a latent variable of known prior."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from ml_collections import ConfigDict

from aeseg import keys, likelihoods, metrics, objectives
from aeseg.metrics import Mean
from aeseg.models import layers, running
from aeseg.spec import choose, spec
from aeseg.spec import recipe as part
from aeseg.types import Batch, Pyramid, UserError

ACTIVE = 0.01
"""A unit is active if its posterior mean has a larger variance over images (Burda et al. 2016, section 5.2)."""


class Variational(nn.Module):
    """Maximise log p(x|z) - KL(q(z|x), p(z)), with z at the encoder's coarsest stride (Kingma & Welling 2014, equation 3).

    q is normal; a 1x1 convolution of the encoder's features gives the mean and variance of each number of z.  p is standard normal.

    likelihood   p(x|z): Gaussian | Bernoulli | LogisticMixture (aeseg/likelihoods.py); the decoder's channels are its `numbers`
    latent       channels of z
    beta         weight of the KL in the objective (Higgins et al. 2017, equation 4)
    free_bits    bits per position of a channel that are free of cost (Kingma et al. 2016, section C.8).  Deviation: the floor applies
                 to an image's KL in a channel, not to the minibatch's mean, which microbatches could not share
    warmup       steps over which beta rises linearly from 0 (Sonderby et al. 2016, section 2.2); counted in the collection `variational`
    samples      samples of z in evaluation, for the importance-weighted bound (Burda et al. 2016, equation 8)
    decay        decay of the running mean of the squared error, Gaussian's optimal variance.  Deviation from Rybkin et al. 2021: their
                 mean is over one batch; this mean does not depend on microbatches and also serves in evaluation

    Terms are in bits per dimension, averaged over images.  `bound` = `distortion` + `rate` is an upper bound of an image's code length;
    `importance_bound` is tighter; `objective` includes beta and free bits.  Evaluation draws with a constant key, counts active units
    over the data set (of h w latent), and uses the full beta.  PSNR compares the image decoded from z's mean.
    """

    encoder: nn.Module
    decoder: nn.Module
    likelihood: likelihoods.Likelihood
    latent: int = 16
    beta: float = 1.0
    free_bits: float = 0.0
    warmup: int = 0
    samples: int = 16
    decay: float = 0.9

    def __post_init__(self) -> None:
        for name, good, expected in (
            ("latent", self.latent >= 1, "1 or more"),
            ("beta", self.beta >= 0, "0 or more"),
            ("free_bits", self.free_bits >= 0, "0 or more"),
            ("warmup", self.warmup >= 0, "0 or more"),
            ("samples", self.samples >= 1, "1 or more"),
            ("decay", 0 <= self.decay < 1, "0 or more and less than 1"),
        ):
            if not good:
                raise UserError(f"Variational takes a {name} of {expected}; got {getattr(self, name)}. Set --config.method.{name}.")
        super().__post_init__()

    def setup(self) -> None:
        self.posterior = layers.Convolution(2 * self.latent, size=1, initialiser="lecun")
        if self.warmup:
            self.steps = self.variable("variational", "steps", lambda: jnp.zeros(()))
        if self.likelihood.finds_variance:
            # sums of the squared error and of its numbers: of earlier steps, and pending ones
            self.error = self.variable("variational", "error", lambda: {"settled": jnp.zeros(2), "pending": jnp.zeros(2)})

    @property
    def coefficients(self) -> dict[str, float]:
        """Coefficients of the Means in the loss; others are only logged."""
        return {"objective": 1.0}

    @property
    def sampling(self) -> dict[str, float]:
        """Defaults of the options of `sample`."""
        return {"temperature": 1.0}

    def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
        image, valid = batch["image"], batch["valid"]
        stride, mean, log_variance = self._posterior(image, train)
        noise, dequantisation = self._keys(batch, train)
        target = self.likelihood.target(dequantisation, image)
        values = self._values({stride: mean + jnp.exp(log_variance / 2) * _normal(noise, mean)}, image, train)
        variance = self._variance(values, target, batch, train)
        divergence = _divergence(mean, log_variance)  # b h w d
        distortion = -self.likelihood.log_probability(values, target, variance)
        rate = jnp.sum(divergence, axis=(1, 2, 3))
        floor = self.free_bits * math.log(2) * divergence.shape[1] * divergence.shape[2]
        floored = jnp.sum(jnp.maximum(jnp.sum(divergence, axis=(1, 2)), floor), axis=-1) if floor else rate
        each = {
            "objective": distortion + self._beta(batch, train) * floored,
            "bound": distortion + rate,
            "distortion": distortion,
            "rate": rate,
        }
        means = {name: _over_images(nats / (math.log(2) * math.prod(image.shape[1:])), batch) for name, nats in each.items()}
        if train:
            return {**means, "psnr": metrics.psnr(self.likelihood.mean(values, image.shape[-1]), image, valid)}
        prediction = self.likelihood.mean(self._values({stride: mean}, image, train), image.shape[-1])
        tight = self._importance_bound(stride, mean, log_variance, target, variance, batch)
        units = (jnp.where(valid[:, None], moment.reshape(len(valid), -1), 0) for moment in (mean, jnp.square(mean)))
        first, second = (Mean(jnp.sum(unit, axis=0), objectives.image_count(valid)) for unit in units)
        return {
            **means,
            "importance_bound": _over_images(-tight / (math.log(2) * math.prod(image.shape[1:])), batch),
            "psnr": metrics.psnr(prediction, image, valid),
            "ssim": metrics.ssim(prediction, image, valid),
            "latent_mean": first,
            "latent_square": second,
        }

    def denominators(self, batch: Batch) -> dict[str, Array]:
        """Return the weight of each Mean: the number of images that are not padding."""
        names = ("objective", "bound", "distortion", "rate", "importance_bound", "psnr", "ssim", "latent_mean", "latent_square")
        return dict.fromkeys(names, objectives.image_count(batch["valid"]))

    def summary(self, values: dict[str, Any]) -> dict[str, float]:
        """Convert the means of a data set to numbers: the moments of z to the number of active units."""
        values = dict(values)
        variance = values.pop("latent_square") - np.square(values.pop("latent_mean"))
        return {**values, "active_units": float(np.sum(variance > ACTIVE))}

    def show(self, batch: Batch) -> dict[str, Array]:
        """Return the columns of the run's pictures: image, reconstruction, and an image decoded from a sample of the prior."""
        image = batch["image"]
        stride, mean, _ = self._posterior(image, train=False)
        sample = self.sample(self._keys(batch, train=False)[0], image, **self.sampling)
        return {"image": image, "reconstruction": self._decoded({stride: mean}, image), "sample": sample}

    def sample(self, key: Key[Array, "b"], image: Float[Array, "b y x c"], temperature: float) -> Float[Array, "b y x c"]:
        """Return the mean of p(x|z) for z of the prior with standard deviation `temperature`, of the size of `image`, by each row's key."""
        stride, mean, _ = self._posterior(image, train=False)
        return self._decoded({stride: temperature * _normal(key, mean)}, image)

    def between(
        self,
        key: Key[Array, "b"],
        first: Float[Array, "b y x c"],
        second: Float[Array, "b y x c"],
        fraction: Float[Array, "b"],
        temperature: float,
    ) -> Float[Array, "b y x c"]:
        """Return the images of z on the line between the means of q(z|x) of two images, at a fraction in [0, 1]; nothing is drawn."""
        (stride, start, _), (_, end, _) = (self._posterior(image, train=False) for image in (first, second))
        fraction = fraction[:, None, None, None]
        return self._decoded({stride: (1 - fraction) * start + fraction * end}, first)

    def _decoded(self, latent: Pyramid, image: Float[Array, "b y x c"]) -> Float[Array, "b y x c"]:
        """Return the mean of p(x|z), in [0, 1]."""
        return self.likelihood.mean(self._values(latent, image, train=False), image.shape[-1]).clip(0, 1)

    def _posterior(self, image: Float[Array, "b _ _ c"], train: bool) -> tuple[int, Float[Array, "b h w d"], Float[Array, "b h w d"]]:
        """Return (stride of z, mean, log variance) of q(z|x)."""
        pyramid = self.encoder(image, train=train)
        numbers = self.posterior(pyramid[max(pyramid)].astype(jnp.float32))
        return max(pyramid), numbers[..., : self.latent], jnp.clip(numbers[..., self.latent :], -12, 12)

    def _keys(self, batch: Batch, train: bool) -> tuple[Key[Array, "b"], Key[Array, "b"]]:
        """Return each row's keys for z and for dequantisation."""
        roots = (self.make_rng("sample"), self.make_rng("noise")) if train else (jax.random.key(0), jax.random.key(1))
        return keys.per_row(roots[0], batch["index"]), keys.per_row(roots[1], batch["index"])

    def _values(self, latent: Pyramid, image: Float[Array, "b y x c"], train: bool) -> Float[Array, "b y x _"]:
        values = self.decoder(latent, train=train).astype(jnp.float32)
        numbers = self.likelihood.numbers(image.shape[-1])
        if values.shape[-1] != numbers:
            raise UserError(
                f"{type(self.likelihood).__name__} reads {numbers} numbers for a pixel of {image.shape[-1]} channels; the decoder gives "
                f"{values.shape[-1]}. Set --config.method.decoder.channels={numbers}."
            )
        return values

    def _variance(self, values: Float[Array, "b y x n"], target: Float[Array, "b y x c"], batch: Batch, train: bool) -> Float[Array, ""]:
        """Return the mean squared error of earlier steps; before the first step, 1/12, the variance of uniform values."""
        if not self.likelihood.finds_variance:
            return jnp.float32(1 / 12)

        def settle(sums: dict[str, Array]) -> dict[str, Array]:
            moved = {"settled": running.decayed(sums["settled"], sums["pending"], self.decay), "pending": jnp.zeros(2)}
            return jax.tree.map(lambda new, old: jnp.where(sums["pending"][1] > 0, new, old), moved, sums)

        sums = running.opened(batch["index"], self.error.value, settle) if train else settle(self.error.value)
        if train:
            error = jax.lax.stop_gradient(self.likelihood.mean(values, target.shape[-1]) - target)
            each = jnp.where(batch["valid"], jnp.mean(jnp.square(error), axis=(1, 2, 3)), 0)
            seen = jnp.stack([jnp.sum(each), objectives.image_count(batch["valid"])])
            self.error.value = {**sums, "pending": sums["pending"] + seen}
        total, weight = sums["settled"]
        return jnp.where(weight > 0, metrics.divide(total, weight), 1 / 12)

    def _beta(self, batch: Batch, train: bool) -> Float[Array, ""] | float:
        if not (train and self.warmup):
            return self.beta
        before, self.steps.value = running.completed_steps(batch["index"], self.steps.value)
        return self.beta * jnp.minimum(1, (before + 1) / self.warmup)

    def _importance_bound(
        self,
        stride: int,
        mean: Float[Array, "b h w d"],
        log_variance: Float[Array, "b h w d"],
        target: Float[Array, "b y x c"],
        variance: Float[Array, ""],
        batch: Batch,
    ) -> Float[Array, "b"]:
        """Return log (1 / k) sum_i p(x|z_i) p(z_i) / q(z_i|x) of each image, in nats (Burda et al. 2016, equation 8)."""
        rows = self._keys(batch, train=False)[0]

        def add(method: Variational, total: Array, number: Array) -> tuple[Array, None]:
            noise = _normal(jax.vmap(jax.random.fold_in, in_axes=(0, None))(rows, number), mean)
            latent = mean + jnp.exp(log_variance / 2) * noise
            log_ratio = jnp.sum((jnp.square(noise) - jnp.square(latent) + log_variance) / 2, axis=(1, 2, 3))  # log p(z) - log q(z|x)
            values = method._values({stride: latent}, batch["image"], train=False)
            return jnp.logaddexp(total, method.likelihood.log_probability(values, target, variance) + log_ratio), None

        nothing = jnp.full(len(rows), -jnp.inf)
        scanned = nn.scan(add, variable_broadcast=True, split_rngs={}, length=self.samples)
        total, _ = scanned(self, nothing, jnp.arange(1, 1 + self.samples))
        return total - math.log(self.samples)


def _normal(key: Key[Array, "b"], like: Float[Array, "b h w d"]) -> Float[Array, "b h w d"]:
    """Draw standard normal numbers, each row from its key."""
    return jax.vmap(lambda key: jax.random.normal(key, like.shape[1:]))(key)


def _divergence(mean: Float[Array, "b h w d"], log_variance: Float[Array, "b h w d"]) -> Float[Array, "b h w d"]:
    """Return KL(N(mean, variance), N(0, 1)) of each number (Kingma & Welling 2014, appendix B)."""
    return (jnp.square(mean) + jnp.exp(log_variance) - 1 - log_variance) / 2


def _over_images(each: Float[Array, "b"], batch: Batch) -> Mean:
    return Mean(jnp.sum(jnp.where(batch["valid"], each, 0)), objectives.image_count(batch["valid"]))


def recipe(size: str = "small") -> ConfigDict:
    """Return a Gaussian likelihood with optimal variance on `reconstruction`'s convolutional autoencoder of a size.

    `bernoulli` and `mixture` have these likelihoods on the small one; `mixture` is for RGB.
    """
    small = {"warmup": 300, "likelihood": spec(likelihoods.Gaussian)}
    fields = choose(
        size,
        tiny={**small, "latent": 4, "samples": 2, "warmup": 2},
        small=small,
        reference={**small, "latent": 64, "warmup": 2000},
        bernoulli={**small, "likelihood": spec(likelihoods.Bernoulli)},
        mixture={**small, "likelihood": spec(likelihoods.LogisticMixture)},
    )
    named = size if size in ("tiny", "reference") else "small"
    decoder = part("aeseg.models.decoders", "convolutional", named)
    if size == "mixture":
        decoder.channels = likelihoods.LogisticMixture().numbers(3)
    return spec(Variational, encoder=part("aeseg.models.encoders", "convnet", named), decoder=decoder, **fields)
