import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg import images
from aeseg.inference import evaluate
from aeseg.methods import quantised
from aeseg.methods.quantised import QuantisedAutoencoder
from aeseg.models.quantisers import FiniteScalar, NearestVector
from aeseg.spec import build
from aeseg.types import UserError
from tests import jitted
from tests.methods import bottlenecks, cases

BATCH = {**cases.batch(), "index": jnp.arange(8, dtype=jnp.int32)}
VALID = np.asarray(BATCH["valid"])
FINITE, NEAREST = FiniteScalar((5, 4)), NearestVector(size=7, width=3)


class Decoder(nn.Module):
    """An image's values from stride 4."""

    @nn.compact
    def __call__(self, pyramid, *, train):
        return images.from_patches(nn.Dense(48)(pyramid[4]), 4)


def method(quantiser=FINITE, **fields):
    return QuantisedAutoencoder(cases.PlainEncoder(), Decoder(), quantiser.clone(), **fields)


def initial(ours):
    return jitted.init(ours, {"params": jax.random.key(0)}, BATCH, train=False)


def evaluated(ours, variables):
    return jitted.apply(ours, variables, BATCH, train=False)


def codes_of(ours, variables):
    return np.asarray(jax.jit(lambda variables: ours.apply(variables, BATCH, False, method="_quantised")[1].codes)(variables))


@pytest.mark.parametrize("quantiser", [FINITE, NEAREST])
def test_the_loss_is_the_error_of_the_image_decoded_from_only_its_codes(quantiser):
    ours = method(quantiser, output="linear")
    variables = initial(ours)
    means = evaluated(ours, variables)
    codes = jnp.asarray(codes_of(ours, variables))
    vectors = jitted.apply(ours, variables, codes, method=lambda module, codes: module.quantiser.vectors(codes))
    decoded = jitted.apply(Decoder(), {"params": variables["params"]["decoder"]}, {4: vectors}, train=False)
    error = np.square(decoded - BATCH["image"]).mean(axis=(1, 2, 3))
    assert means["squared_error"].value() == pytest.approx(error[VALID].mean(), rel=1e-5)


def test_a_codebook_adds_its_commitment_and_finite_scalars_add_nothing():
    assert method(FINITE).coefficients == {"squared_error": 1.0}
    ours = method(NEAREST)
    assert ours.coefficients == {"squared_error": 1.0, "commitment": 0.25}
    variables = initial(ours)

    def narrow(module, batch):
        return module.narrow(module.encoder(batch["image"], train=False)[4])

    given = np.asarray(jitted.apply(ours, variables, BATCH, method=narrow))
    vectors = np.asarray(variables["codebook"]["quantiser"]["state"]["vectors"])
    error = np.square(given - vectors[codes_of(ours, variables)]).mean(axis=(1, 2, 3))
    assert evaluated(ours, variables)["commitment"].value() == pytest.approx(error[VALID].mean(), rel=1e-5)


@pytest.mark.parametrize("quantiser", [FINITE, NEAREST])
def test_perplexity_and_used_codes_are_over_the_data_set_and_not_means_over_batches(quantiser):
    ours = method(quantiser)
    variables = initial(ours)
    batches = [{name: leaf[start : start + 3] for name, leaf in BATCH.items()} for start in (0, 3, 6)]
    means = jax.jit(lambda batch: ours.apply(variables, batch, train=False))
    found = evaluate.autoencoder(means, batches, ours.coefficients, summary=ours.summary)
    counts = np.bincount(codes_of(ours, variables)[VALID].ravel(), minlength=ours.quantiser.size)
    share = counts[counts > 0] / counts.sum()
    assert found["perplexity"] == pytest.approx(np.prod(share**-share), rel=1e-5)
    assert found["used_codes"] == (counts > 0).mean()
    assert 0 < found["used_codes"] < 1
    assert "codes" not in found


@pytest.mark.parametrize("quantiser", [FINITE, NEAREST])
def test_denominators_are_the_weights_of_the_means(quantiser):
    ours = method(quantiser)
    means = evaluated(ours, initial(ours))
    denominators = ours.denominators(BATCH)
    assert means.keys() == denominators.keys()
    assert all(mean.weight == denominators[name] == 6 for name, mean in means.items())


@pytest.mark.parametrize("microbatches", [2, 4])
def test_microbatches_change_neither_the_gradient_nor_the_codebook(microbatches):
    ours = method(NEAREST)
    variables = initial(ours)
    weights = ours.denominators(BATCH)

    def gradient(parts):
        def loss(params):
            now, total = {**variables, "params": params}, 0.0
            for first in range(parts):
                rows = {name: leaf[first::parts] for name, leaf in BATCH.items()}
                means, updated = ours.apply(now, rows, train=True, rngs=bottlenecks.rngs(), mutable=["codebook"])
                now = {**now, **updated}
                total += sum(c * means[name].total / weights[name] for name, c in ours.coefficients.items())
            return total, now["codebook"]

        return jax.jit(jax.grad(loss, has_aux=True))(variables["params"])

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), gradient(1), gradient(microbatches))


@pytest.mark.parametrize("quantiser", [FINITE, NearestVector(size=6, width=2, decay=0.5)])
def test_a_run_resumes_bit_for_bit_and_does_not_depend_on_devices(tmp_path, quantiser):
    described = build(quantised.recipe("tiny"))
    bottlenecks.check_resumes_and_spreads(tmp_path, described.clone(quantiser=quantiser.clone()))


@bottlenecks.every_encoder
def test_it_pretrains_every_encoder(name):
    bottlenecks.check_reads_encoder(lambda encoder, decoder: QuantisedAutoencoder(encoder, decoder, NEAREST.clone()), name)


def test_its_encoder_starts_a_segmenter():
    bottlenecks.check_starts_a_segmenter(method(), BATCH)


def test_pictures_are_the_image_its_reconstruction_and_its_codes_in_0_to_1():
    ours = method()
    variables = initial(ours)
    shown = jitted.apply(ours, variables, BATCH, method="show")
    assert list(shown) == ["image", "reconstruction", "tokens"]
    assert all(picture.min() >= 0 and picture.max() <= 1 for picture in shown.values())
    np.testing.assert_allclose(shown["tokens"][:, ::4, ::4, 0], codes_of(ours, variables) / 19, rtol=1e-6)


def test_an_unknown_objective_is_refused_when_the_method_is_built():
    with pytest.raises(UserError, match="objective is one of"):
        method(objective="mse")
