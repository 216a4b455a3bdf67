"""aeseg/likelihoods.py, against torch.distributions."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import distributions

from aeseg import likelihoods
from aeseg.types import UserError

KEYS = jax.random.split(jax.random.key(0), 2)


def image(channels=3, seed=0):
    levels = np.random.default_rng(seed).integers(0, 256, (2, 4, 5, channels))
    levels[0, 0, 0], levels[0, 0, 1] = 0, 255  # both ends
    return jnp.asarray(levels / 255, jnp.float32)


def values(numbers, seed=1, scale=2.0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(2, 4, 5, numbers)) * scale, jnp.float32)


def test_a_gaussian_equals_torch_in_bins_of_eight_bit_levels():
    ours, target, given = likelihoods.Gaussian(sigma=0.3), image(), values(3)
    expected = distributions.Normal(torch.sigmoid(torch.tensor(np.array(given))), 0.3).log_prob(torch.tensor(np.asarray(target)))
    expected = (expected - math.log(256)).sum(dim=(1, 2, 3))
    np.testing.assert_allclose(ours.log_probability(given, target, jnp.float32(1)), expected, rtol=1e-5)


def test_the_optimal_sigma_is_the_one_that_makes_the_image_most_likely():
    """Rybkin et al. 2021, section 4: the likelihood is largest if sigma^2 is the mean squared error."""
    ours, target, given = likelihoods.Gaussian(), image(), values(3)
    best = jnp.mean(jnp.square(ours.mean(given, 3) - target))
    slope = jax.grad(lambda variance: jnp.sum(ours.log_probability(given, target, variance)))(best)
    assert abs(slope) < 0.05
    at_best, *others = (jnp.sum(ours.log_probability(given, target, best * factor)) for factor in (1, 0.8, 1.2))
    assert all(at_best > other for other in others)


def test_the_variance_is_at_least_the_variance_of_dequantisation():
    exact = jnp.full((2, 4, 5, 3), 0.5)
    found = likelihoods.Gaussian().log_probability(jnp.zeros((2, 4, 5, 3)), exact, jnp.float32(0))
    np.testing.assert_allclose(found / 60, -0.5 * math.log(2 * math.pi / 12), rtol=1e-4)


def test_dequantised_levels_stay_in_their_bin_and_fill_it():
    dark = likelihoods.Gaussian().target(KEYS, jnp.full((2, 40, 50, 3), 7 / 255, jnp.float32)) * 256
    assert 7 <= dark.min() < 7.01
    assert 7.99 < dark.max() < 8.0001
    assert dark.mean() == pytest.approx(7.5, abs=0.01)
    white = likelihoods.Gaussian().target(KEYS, jnp.ones((2, 4, 5, 3)))
    assert white.max() <= 1


def test_a_bernoulli_equals_torch():
    ours, target, given = likelihoods.Bernoulli(), jnp.round(image()), values(3)
    expected = distributions.Bernoulli(logits=torch.tensor(np.array(given))).log_prob(torch.tensor(np.asarray(target)))
    np.testing.assert_allclose(ours.log_probability(given, target, jnp.float32(1)), expected.sum(dim=(1, 2, 3)), rtol=1e-5)


def mixture_in_torch(given, target, mixtures):
    """Return equations 1 to 3 of Salimans et al. 2017 with torch's logistic distribution, per component, in float64."""
    given, target = torch.tensor(np.array(given, np.float64)), 2 * torch.tensor(np.asarray(target, np.float64)) - 1
    channels = target.shape[-1]
    weights = torch.log_softmax(given[..., :mixtures], dim=-1)
    parameters = given[..., mixtures:].reshape(*given.shape[:3], mixtures, -1)
    components = []
    for component in range(mixtures):
        numbers, total = parameters[..., component, :], weights[..., component]
        pairs = iter(range(2 * channels, numbers.shape[-1]))
        for channel in range(channels):
            mean = numbers[..., channel]
            for before in range(channel):
                mean = mean + torch.tanh(numbers[..., next(pairs)]) * target[..., before]
            scale = torch.exp(numbers[..., channels + channel].clamp(min=-7))
            base = distributions.Uniform(torch.zeros_like(mean), torch.ones_like(mean), validate_args=False)
            chain = [distributions.SigmoidTransform().inv, distributions.AffineTransform(mean, scale)]
            logistic = distributions.TransformedDistribution(base, chain, validate_args=False)
            value = target[..., channel]
            upper = torch.where(value > 0.999, 1.0, logistic.cdf(value + 1 / 255))
            lower = torch.where(value < -0.999, 0.0, logistic.cdf(value - 1 / 255))
            total = total + torch.log(upper - lower)
        components.append(total)
    return torch.logsumexp(torch.stack(components), dim=0).sum(dim=(1, 2))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_logistic_mixture_equals_torchs_logistic_distributions(channels):
    ours, target = likelihoods.LogisticMixture(mixtures=4), image(channels)
    given = values(ours.numbers(channels), scale=1.0)
    np.testing.assert_allclose(ours.log_probability(given, target, jnp.float32(1)), mixture_in_torch(given, target, 4), rtol=1e-4)


def test_the_probabilities_of_all_levels_add_up_to_one():
    ours = likelihoods.LogisticMixture(mixtures=3)
    given = jnp.broadcast_to(values(ours.numbers(1))[:1, :1, :1], (256, 1, 1, ours.numbers(1)))
    levels = (jnp.arange(256) / 255).reshape(256, 1, 1, 1)
    assert jnp.sum(jnp.exp(ours.log_probability(given, levels, jnp.float32(1)))) == pytest.approx(1, abs=1e-4)


def test_narrow_components_far_from_the_value_keep_a_finite_probability_and_slope():
    ours, target = likelihoods.LogisticMixture(mixtures=2), image()
    given = jnp.full((2, 4, 5, ours.numbers(3)), -9.0)
    total, slope = jax.value_and_grad(lambda given: jnp.sum(ours.log_probability(given, target, jnp.float32(1))))(given)
    assert np.isfinite(total)
    assert np.isfinite(slope).all()


def test_the_decoder_gives_100_numbers_for_rgb_and_ten_components():
    """The authors' network ends in 10 * nr_mix channels, with nr_mix = 10 (their code, model.py)."""
    assert likelihoods.LogisticMixture().numbers(3) == 100
    assert likelihoods.Gaussian().numbers(3) == likelihoods.Bernoulli().numbers(3) == 3


def test_the_mean_of_a_narrow_mixture_is_its_image():
    ours = likelihoods.LogisticMixture(mixtures=2)
    target = image()
    weights = jnp.zeros((2, 4, 5, 2))
    component = jnp.concatenate([2 * target - 1, jnp.full_like(target, -7), jnp.zeros((2, 4, 5, 3))], axis=-1)
    given = jnp.concatenate([weights, component, component], axis=-1)
    np.testing.assert_allclose(ours.mean(given, 3), target, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [(lambda: likelihoods.Gaussian(sigma=-1.0), "got -1.0"), (lambda: likelihoods.LogisticMixture(0), "1 or more mixtures; got 0")],
)
def test_bad_fields_are_named(make, message):
    with pytest.raises(UserError, match=message):
        make()
