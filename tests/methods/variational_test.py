"""aeseg/methods/variational.py, against torch.distributions and a model with known evidence."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import distributions

from aeseg import images
from aeseg.inference import evaluate
from aeseg.likelihoods import Bernoulli, Gaussian, LogisticMixture
from aeseg.methods import variational
from aeseg.methods.variational import Variational
from aeseg.spec import build
from aeseg.types import UserError
from tests import jitted
from tests.methods import bottlenecks, cases

BATCH = {**cases.batch(), "index": jnp.arange(8, dtype=jnp.int32)}
VALID = np.asarray(BATCH["valid"])
SIGMA, LATENT = 0.1, 3


class Exact(Gaussian):
    """A Gaussian of the image around the decoder's values."""

    def target(self, key, image):
        return image

    def mean(self, values, channels):
        return values


class LinearDecoder(nn.Module):
    """W z + b for each 2 x 2 patch."""

    @nn.compact
    def __call__(self, pyramid, *, train):
        return images.from_patches(nn.Dense(12, name="weights")(pyramid[bottlenecks.STRIDE]), bottlenecks.STRIDE)


class StrideFourDecoder(nn.Module):
    """An image's values from stride 4."""

    channels: int = 3

    @nn.compact
    def __call__(self, pyramid, *, train):
        return images.from_patches(nn.Dense(16 * self.channels)(pyramid[4]), 4)


def method(**fields):
    return Variational(cases.PlainEncoder(), StrideFourDecoder(), **{"likelihood": Gaussian(), "latent": LATENT, "samples": 2, **fields})


def linear_model(shift=0.0, **fields):
    """Return (method, variables, W, b) of x = W z + b + noise; the posterior is exact, except for `shift` of its mean.

    The columns of W are orthogonal, so the posterior of each z is independent: its covariance (I + W'W / sigma^2)^-1 is diagonal.
    """
    rng = np.random.default_rng(0)
    weights = np.linalg.qr(rng.normal(size=(12, LATENT)))[0] * [0.3, 0.2, 0.1]
    bias = rng.uniform(0.3, 0.7, 12)
    covariance = 1 / (1 + np.square([0.3, 0.2, 0.1]) / SIGMA**2)
    to_mean = weights / SIGMA**2 * covariance
    ours = Variational(bottlenecks.Patches(), LinearDecoder(), Exact(sigma=SIGMA), latent=LATENT, **fields)
    params = {
        "posterior": {
            "kernel": np.concatenate([to_mean, np.zeros((12, LATENT))], axis=1)[None, None],
            "bias": np.concatenate([shift - bias @ to_mean, np.log(covariance)]),
        },
        "decoder": {"weights": {"kernel": weights.T, "bias": bias}},
    }
    return ours, {"params": jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)}, weights, bias


def evaluated(ours, variables):
    return jitted.apply(ours, variables, BATCH, train=False)


def evidence(weights, bias):
    """Return bits per dimension of each image under N(b, W W' + sigma^2 I), with 8-bit bins as in `likelihoods`."""
    patches = np.asarray(images.patches(BATCH["image"], 2), np.float64).reshape(8, -1, 12)
    density = multivariate_normal(bias, weights @ weights.T + SIGMA**2 * np.eye(12)).logpdf(patches).sum(axis=1)
    return (-density / (patches.shape[1] * 12) + math.log(256)) / math.log(2)


def test_with_the_exact_posterior_the_importance_bound_equals_the_evidence_for_any_draw():
    ours, variables, weights, bias = linear_model(samples=3)
    means = evaluated(ours, variables)
    assert means["importance_bound"].value() == pytest.approx(evidence(weights, bias)[VALID].mean(), rel=1e-5)
    one = evaluated(ours.clone(samples=1), variables)
    assert one["importance_bound"].value() == pytest.approx(float(means["importance_bound"].value()), rel=1e-5)


def test_the_bound_is_the_evidence_on_average_over_draws():
    ours, variables, weights, bias = linear_model(samples=1)
    bound = jax.jit(lambda index: ours.apply(variables, {**BATCH, "index": index}, train=False)["bound"])
    bounds = [float(bound(BATCH["index"] + 8 * number).value()) for number in range(64)]
    error = np.std(bounds) / 8
    assert abs(np.mean(bounds) - evidence(weights, bias)[VALID].mean()) < 4 * error
    assert error < 0.01


def test_with_another_posterior_the_bound_approaches_the_evidence_from_above_with_more_samples():
    """Burda et al. 2016, theorem 1; one patch of three z, for enough samples to reach the evidence."""
    one = {**BATCH, "image": BATCH["image"][:, :2, :2], "valid": jnp.ones(8, bool)}
    rows = [{**one, "index": one["index"] + 8 * number} for number in range(40)]
    values = {}
    for samples in (1, 8, 256):
        ours, variables, weights, bias = linear_model(shift=0.3, samples=samples)
        means = jax.jit(lambda batch, ours=ours, variables=variables: ours.apply(variables, batch, train=False))
        values[samples] = np.mean([float(means(batch)["importance_bound"].value()) for batch in rows])
        bound = np.mean([float(means(batch)["bound"].value()) for batch in rows])
    patch = np.asarray(images.patches(one["image"], 2), np.float64).reshape(8, 12)
    density = multivariate_normal(bias, weights @ weights.T + SIGMA**2 * np.eye(12)).logpdf(patch).mean()
    exact = (-density / 12 + math.log(256)) / math.log(2)
    assert values[1] > values[8] + 0.02 > values[256] + 0.02
    assert values[256] == pytest.approx(exact, abs=0.005)
    covariance = 1 / (1 + np.square([0.3, 0.2, 0.1]) / SIGMA**2)
    gap = np.sum(0.3**2 / covariance) / 2 / 12 / math.log(2)  # KL of the two posteriors
    assert bound == pytest.approx(exact + gap, abs=0.02)
    assert values[1] == pytest.approx(exact + gap, abs=0.02), "one sample gives the bound"


def test_rate_and_distortion_equal_torch():
    ours = method(likelihood=Exact(sigma=0.5))
    variables = cases.initial(ours, BATCH)
    means = evaluated(ours, variables)

    def parts(module, batch):
        stride, mean, log_variance = module._posterior(batch["image"], False)
        noise = variational._normal(module._keys(batch, False)[0], mean)
        return mean, log_variance, module._values({stride: mean + jnp.exp(log_variance / 2) * noise}, batch["image"], False)

    mean, log_variance, values = (torch.tensor(np.array(leaf)) for leaf in jitted.apply(ours, variables, BATCH, method=parts))
    posterior = distributions.Normal(mean, torch.exp(log_variance / 2))
    bits = math.log(2) * 12 * 16 * 3
    rate = distributions.kl_divergence(posterior, distributions.Normal(0.0, 1.0)).sum(dim=(1, 2, 3)) / bits
    density = distributions.Normal(values, 0.5).log_prob(torch.tensor(np.array(BATCH["image"]))).sum(dim=(1, 2, 3))
    distortion = (-density / (12 * 16 * 3) + math.log(256)) / math.log(2)
    assert means["rate"].value() == pytest.approx(rate[np.array(VALID)].mean().item(), rel=1e-5)
    assert means["distortion"].value() == pytest.approx(distortion[np.array(VALID)].mean().item(), rel=1e-5)
    assert means["bound"].value() == pytest.approx((rate + distortion)[np.array(VALID)].mean().item(), rel=1e-5)


def test_the_objective_weights_the_rate_by_beta_and_counts_at_least_the_free_bits():
    variables = cases.initial(method(), BATCH)

    def terms(**fields):
        means = evaluated(method(**fields), variables)
        return {name: float(means[name].value()) for name in ("objective", "distortion", "rate")}

    plain, heavy, free = terms(), terms(beta=4.0), terms(free_bits=50.0)
    assert plain["objective"] == pytest.approx(plain["distortion"] + plain["rate"], rel=1e-6)
    assert heavy["objective"] == pytest.approx(heavy["distortion"] + 4 * heavy["rate"], rel=1e-6)
    floor = 50 * LATENT * 12 / (12 * 16 * 3)  # bits of 3 channels at 3 x 4 positions, per number of the image
    assert free["objective"] == pytest.approx(free["distortion"] + floor, rel=1e-6)


@pytest.mark.parametrize("microbatches", [1, 2, 4])
def test_beta_rises_once_per_step_for_any_number_of_microbatches(microbatches):
    ours = method(warmup=4)
    variables, seen = cases.initial(ours.clone(), {**BATCH, "index": BATCH["index"] + 99}), []
    for _ in range(6):
        parts, variables = bottlenecks.train_step(ours, variables, BATCH, microbatches)
        for means in parts:
            seen.append(float((means["objective"].total - means["distortion"].total) / means["rate"].total))
    np.testing.assert_allclose(seen, np.repeat([0.25, 0.5, 0.75, 1, 1, 1], microbatches), rtol=1e-3)
    assert variables["variational"]["steps"] == 6
    means = evaluated(ours, cases.initial(ours, BATCH))
    assert means["objective"].value() == means["bound"].value(), "evaluation uses the full beta"


def test_the_optimal_variance_is_the_running_mean_squared_error_of_earlier_steps():
    ours = method(decay=0.5)
    variables = jitted.init(ours, {"params": jax.random.key(0)}, BATCH, train=False)

    def error(variables):
        def mean_square(module, batch):
            stride, mean, log_variance = module._posterior(batch["image"], True)
            noise, dequantisation = module._keys(batch, True)
            values = module._values({stride: mean + jnp.exp(log_variance / 2) * variational._normal(noise, mean)}, batch["image"], True)
            return jnp.square(jax.nn.sigmoid(values) - module.likelihood.target(dequantisation, batch["image"])).mean(axis=(1, 2, 3))

        squares = jitted.apply(ours, variables, BATCH, rngs=bottlenecks.rngs(), method=mean_square)
        return float(np.asarray(squares)[VALID].mean())

    def distortion(means, variance):
        """The bits of a squared error with known mean."""
        return (error_now / (2 * variance) + 0.5 * math.log(2 * math.pi * variance) + math.log(256)) / math.log(2)

    error_now, expected = error(variables), [1 / 12]
    for microbatches in (1, 2, 4):
        parts, variables = bottlenecks.train_step(ours, variables, BATCH, microbatches)
        total, weight = (sum(getattr(means["distortion"], part) for means in parts) for part in ("total", "weight"))
        assert total / weight == pytest.approx(distortion(parts, expected[-1]), rel=1e-5)
        expected.append(error_now)  # the parameters do not change, so every step has the same error
    sums = variables["variational"]["error"]
    assert (sums["pending"][0] / sums["pending"][1]) == pytest.approx(error_now, rel=1e-5)


@pytest.mark.parametrize(("likelihood", "channels"), [(Gaussian(), 3), (Bernoulli(), 3), (LogisticMixture(2), 20)])
def test_every_likelihood_trains_and_shows_images(likelihood, channels):
    ours = Variational(cases.PlainEncoder(), StrideFourDecoder(channels), likelihood, latent=LATENT, samples=2)
    variables = cases.initial(ours, BATCH)
    (means,), _ = bottlenecks.train_step(ours, variables, BATCH)
    assert np.isfinite(means["objective"].value())
    shown = jitted.apply(ours, variables, BATCH, method="show")
    assert list(shown) == ["image", "reconstruction", "sample"]
    assert all(picture.shape == BATCH["image"].shape and picture.min() >= 0 and picture.max() <= 1 for picture in shown.values())


def test_active_units_are_counted_over_the_data_set_and_not_over_batches():
    ours = method()
    variables = cases.initial(ours, BATCH)
    variables["params"]["posterior"]["kernel"] *= jnp.array([0.01, 30, 30, 1, 1, 1]).reshape(1, 1, 1, 6)
    batches = [{name: leaf[start : start + 3] for name, leaf in BATCH.items()} for start in (0, 3, 6)]
    means = jax.jit(lambda batch: ours.apply(variables, batch, train=False))
    found = evaluate.autoencoder(means, batches, ours.coefficients, summary=ours.summary)
    _, mean, _ = jitted.apply(ours, variables, BATCH["image"], False, method="_posterior")
    variance = np.var(np.asarray(mean, np.float64)[VALID], axis=0)
    assert (variance > 0.01).any()
    assert not (variance > 0.01).all()
    assert found["active_units"] == (variance > 0.01).sum()
    assert "latent_mean" not in found
    assert found["images"] == 6


@pytest.mark.parametrize("fields", [{}, {"warmup": 3, "free_bits": 0.5, "beta": 2.0}, {"likelihood": Bernoulli()}])
def test_denominators_are_the_weights_of_the_means(fields):
    cases.assert_denominators_are_the_weights(method(**fields), BATCH)


def test_a_run_resumes_bit_for_bit_and_does_not_depend_on_devices(tmp_path):
    bottlenecks.check_resumes_and_spreads(tmp_path, build(variational.recipe("tiny")))


@bottlenecks.every_encoder
def test_it_pretrains_every_encoder(name):
    bottlenecks.check_reads_encoder(lambda encoder, decoder: Variational(encoder, decoder, Gaussian()), name)


def test_its_encoder_starts_a_segmenter():
    bottlenecks.check_starts_a_segmenter(method(), BATCH)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"latent": 0}, "latent of 1 or more; got 0. Set --config.method.latent"),
        ({"beta": -1.0}, "beta of 0 or more; got -1.0"),
        ({"samples": 0}, "samples of 1 or more; got 0"),
        ({"decay": 1.0}, "decay of 0 or more and less than 1; got 1.0"),
        ({"warmup": -1}, "warmup of 0 or more; got -1"),
        ({"free_bits": -0.1}, "free_bits of 0 or more; got -0.1"),
    ],
)
def test_bad_fields_are_named(fields, message):
    with pytest.raises(UserError, match=message):
        method(**fields)


def test_a_decoder_with_other_channels_than_the_likelihood_needs_is_named():
    with pytest.raises(UserError, match=r"LogisticMixture reads 100 numbers .* gives 3\. Set --config.method.decoder.channels=100"):
        cases.initial(method(likelihood=LogisticMixture()), BATCH)


def test_a_sample_is_the_decoded_draw_of_the_prior_and_depends_only_on_its_key():
    ours = method()
    variables = jitted.init(ours, jax.random.key(0), BATCH, train=False)
    rows = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(3), jnp.arange(8))
    drawn = jitted.apply(ours, variables, rows, BATCH["image"], temperature=0.7, method="sample")
    latent = jnp.stack([0.7 * jax.random.normal(row, (3, 4, LATENT)) for row in rows])
    values = jitted.apply(StrideFourDecoder(), {"params": variables["params"]["decoder"]}, {4: latent}, train=False)
    np.testing.assert_allclose(drawn, ours.likelihood.mean(values, 3).clip(0, 1), rtol=1e-5, atol=1e-6)
    again = jitted.apply(ours, variables, rows[2:4], jnp.zeros_like(BATCH["image"][:2]), temperature=0.7, method="sample")
    np.testing.assert_allclose(drawn[2:4], again, rtol=1e-5, atol=1e-6)


def test_between_two_images_z_moves_on_a_line_and_ends_at_their_reconstructions():
    ours = method()
    variables = jitted.init(ours, jax.random.key(0), BATCH, train=False)
    image, rows = BATCH["image"], jax.random.split(jax.random.key(3), 8)
    shown = jitted.apply(ours, variables, BATCH, method="show")["reconstruction"]
    fractions = jnp.array([0.0, 1.0, 0.25, 0.5, 0.75, 0.5, 0.5, 0.5])
    drawn = jitted.apply(ours, variables, rows, image, image[::-1], fractions, temperature=1.0, method="between")
    np.testing.assert_allclose(drawn[0], shown[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(drawn[1], shown[-2], rtol=1e-5, atol=1e-6)
    _, mean, _ = jitted.apply(ours, variables, image, False, method="_posterior")
    latent = 0.75 * mean[2] + 0.25 * mean[5]
    values = jitted.apply(StrideFourDecoder(), {"params": variables["params"]["decoder"]}, {4: latent[None]}, train=False)
    np.testing.assert_allclose(drawn[2:3], ours.likelihood.mean(values, 3).clip(0, 1), rtol=1e-5, atol=1e-6)
