import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from aeseg import keys
from aeseg.methods import hyperprior
from aeseg.methods.hyperprior import HyperDecoder, Hyperprior
from aeseg.models.decoders.gdn import GDNDecoder
from aeseg.models.encoders.gdn import GDNEncoder
from aeseg.models.entropy import FactorisedPrior
from aeseg.spec import build
from aeseg.types import UserError
from tests import jitted
from tests.methods import bottlenecks, cases

BATCH = {**cases.batch(), "index": jnp.arange(8, dtype=jnp.int32)}
VALID = np.asarray(BATCH["valid"])
OURS = Hyperprior(GDNEncoder((4, 6)), GDNDecoder((5,)), lmbda=0.02, width=3)


@pytest.fixture(scope="module")
def variables():
    """Return variables whose features are large enough for several bits."""
    fresh = jitted.init(OURS, jax.random.key(0), BATCH, train=False)
    louder = jax.tree.map(lambda leaf: leaf, dict(fresh))
    louder["params"]["encoder"]["convolution1"]["kernel"] *= 20.0
    return louder


def torch_bits(values, scales):
    """Return the bits of values by torch's normal distributions."""
    normal = torch.distributions.Normal(torch.zeros(values.shape, dtype=torch.float64), torch.tensor(np.asarray(scales, np.float64)))
    values = torch.tensor(np.asarray(values, np.float64))
    return -torch.log2((normal.cdf(values + 0.5) - normal.cdf(values - 0.5)).clamp(min=1e-9)).sum(dim=(1, 2, 3)).numpy()


def parts(variables, latent, hyper):
    """Return (scales of y, bits of z)."""
    params = variables["params"]
    logs = jitted.apply(HyperDecoder(3), {"params": params["hyper_decoder"]}, hyper, 6)[:, : latent.shape[1], : latent.shape[2]]
    mass = np.asarray(jitted.apply(FactorisedPrior(), {"params": params["prior"]}, hyper), np.float64)
    return np.exp(np.clip(logs, math.log(0.11), math.log(256))), -np.log2(mass).sum(axis=(1, 2, 3))


def features(variables):
    """Return (y, z), not rounded."""

    def both(method, image):
        latent = method.latent(image)
        return latent, method.hyper_encoder(latent)

    return jitted.apply(OURS, variables, BATCH["image"], method=both)


def test_bits_in_evaluation_are_those_of_torchs_distributions_for_rounded_features(variables):
    latent, hyper = (jnp.round(each) for each in features(variables))
    scales, hyper_bits = parts(variables, latent, hyper)
    bits = (torch_bits(latent, scales) + hyper_bits) / (12 * 16)
    means = jitted.apply(OURS, variables, BATCH, train=False)
    assert means["bits"].value() == pytest.approx(bits[VALID].mean(), rel=1e-3)
    assert means["hyper_bits"].value() == pytest.approx(hyper_bits[VALID].mean() / (12 * 16), rel=1e-3)
    assert len(np.unique(latent)) > 5, "the test should see many values"


def test_the_training_loss_is_bits_of_noisy_features_by_torch_plus_lambda_of_the_squared_error_of_the_decoded_rounded_ones(variables):
    rngs = bottlenecks.rngs()
    means = jitted.apply(OURS, variables, BATCH, train=True, rngs=rngs)
    latent, hyper = features(variables)
    noisy = [each + noise(each, root) for each, root in zip((latent, hyper), roots(variables, rngs), strict=True)]
    scales, hyper_bits = parts(variables, *noisy)
    bits = (torch_bits(noisy[0], scales) + hyper_bits) / (12 * 16)
    assert means["bits"].value() == pytest.approx(bits[VALID].mean(), rel=1e-3)
    decoded = jitted.apply(OURS.decoder, {"params": variables["params"]["decoder"]}, {4: jnp.round(latent)}, train=True)
    error = np.square(decoded - BATCH["image"]).mean(axis=(1, 2, 3))[VALID].mean()
    assert means["squared_error"].value() == pytest.approx(error, rel=1e-4)
    loss = sum(weight * means[name].value() for name, weight in OURS.coefficients.items())
    assert loss == pytest.approx(bits[VALID].mean() + 0.02 * 255**2 * error, rel=1e-3)


def roots(variables, rngs):
    """Return the method's keys of the streams of noise."""
    return OURS.apply(variables, rngs=rngs, method=lambda method: (method.make_rng("noise"), method.make_rng("sample")))


def noise(values, root):
    rows = keys.per_row(root, BATCH["index"])
    return jnp.stack([jax.random.uniform(key, values.shape[1:], minval=-0.5, maxval=0.5) for key in rows])


def test_the_distortion_trains_the_encoder_through_rounding(variables):
    def error(params):
        return OURS.apply({"params": params}, BATCH, train=False)["squared_error"].total

    assert np.any(jax.jit(jax.grad(error))(variables["params"])["encoder"]["convolution0"]["kernel"])


def test_a_few_steps_lower_the_rate_and_the_error(variables):
    def loss(params):
        means = OURS.apply({"params": params}, BATCH, train=True, rngs=bottlenecks.rngs())
        return sum(weight * means[name].value() for name, weight in OURS.coefficients.items())

    step, params = jax.jit(jax.value_and_grad(loss)), variables["params"]
    losses = []
    for _ in range(30):
        value, slope = step(params)
        losses.append(float(value))
        norm = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(slope)))
        params = jax.tree.map(lambda leaf, change, norm=norm: leaf - 0.05 * change / norm, params, slope)
    assert losses[-1] < 0.8 * losses[0]


def test_a_run_resumes_bit_for_bit_and_does_not_depend_on_devices(tmp_path):
    bottlenecks.check_resumes_and_spreads(tmp_path, build(hyperprior.recipe("tiny")))


def test_its_encoder_starts_a_segmenter():
    bottlenecks.check_starts_a_segmenter(Hyperprior(cases.PlainEncoder(), GDNDecoder((5,)), width=3), BATCH)


def test_pictures_are_the_image_its_reconstruction_and_where_the_bits_are(variables):
    shown = jitted.apply(OURS, variables, BATCH, method="show")
    assert list(shown) == ["image", "reconstruction", "spent bits"]
    assert all(picture.min() >= 0 and picture.max() <= 1 for picture in shown.values())
    latent, hyper = (jnp.round(each) for each in features(variables))
    scales, _ = parts(variables, latent, hyper)
    each = np.array([torch_bits(latent[:1, y : y + 1, x : x + 1], scales[:1, y : y + 1, x : x + 1])[0] for y in range(3) for x in range(4)])
    np.testing.assert_allclose(shown["spent bits"][0, ::4, ::4, 0].ravel(), each / each.max(), rtol=1e-3)


@pytest.mark.parametrize("fields", [{"lmbda": 0.0}, {"width": 0}])
def test_impossible_settings_are_refused_when_the_method_is_built(fields):
    with pytest.raises(UserError, match="needs a lambda above 0 and a width of 1 or more"):
        Hyperprior(GDNEncoder((4,)), GDNDecoder(()), **fields)
