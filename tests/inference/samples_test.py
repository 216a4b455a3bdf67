"""aeseg/inference/samples.py: Monte Carlo dropout on networks with known mean and variance."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg import keys
from aeseg.inference.samples import fingerprints, sampled
from aeseg.methods.segmenter import Segmenter
from aeseg.models import layers
from aeseg.spec import build, recipe, spec
from aeseg.types import UserError
from tests import jitted

IMAGE = np.random.default_rng(0).uniform(0.5, 2, (3, 4, 5, 2)).astype(np.float32)


class Dropped(nn.Module):
    """Dropout of the image's channels gives the logits."""

    rate: float

    @nn.compact
    def __call__(self, image):
        return layers.dropout(self, image, self.rate, train=False)


class Beside(nn.Module):
    """A dropout whose result is unused: every draw equals the plain network."""

    @nn.compact
    def __call__(self, image):
        layers.dropout(self, image, 0.5, train=False)
        return image


def draws(module, samples, seed=0, image=IMAGE):
    def logits(key, image):
        return module.apply({}, image, rngs={keys.MONTE_CARLO: key})

    return np.asarray(jax.jit(lambda image, index: sampled(logits, image, index, seed, samples))(image, fingerprints(image)))


def test_equal_draws_give_the_plain_prediction_and_zero_variance():
    found = draws(Beside(), 7)
    np.testing.assert_allclose(found[..., :2], jax.nn.log_softmax(IMAGE), rtol=1e-6)
    np.testing.assert_array_equal(found[..., 2], 0)


def test_mean_and_variance_converge_to_the_exact_values_over_all_dropout_masks():
    """Each of two channels is doubled or zero: four equally likely networks."""
    ways = np.array([jax.nn.softmax(2 * IMAGE * np.array(kept)) for kept in ((0, 0), (0, 1), (1, 0), (1, 1))])
    found = draws(Dropped(0.5), 4000)
    np.testing.assert_allclose(np.exp(found[..., :2]), ways.mean(axis=0), atol=0.03)  # four standard errors
    np.testing.assert_allclose(found[..., 2], ways.var(axis=0).mean(axis=-1), atol=0.01)


def test_an_image_s_draws_depend_only_on_the_seed_and_its_pixels():
    found = draws(Dropped(0.5), 5)
    np.testing.assert_array_equal(found, draws(Dropped(0.5), 5))
    np.testing.assert_array_equal(found[::-1], draws(Dropped(0.5), 5, image=IMAGE[::-1]))
    assert np.any(found != draws(Dropped(0.5), 5, seed=1))


def drop_path():
    """A segmenter whose encoder drops residual branches only in training."""
    encoder, head = recipe("aeseg.models.encoders", "convnextv2", "tiny"), recipe("aeseg.models.heads", "linear", "tiny")
    encoder.drop_path = 0.3
    return build(spec(Segmenter, encoder=encoder, head=head, classes=head.classes))


@pytest.mark.parametrize(
    ("module", "method"),
    [(Dropped(0.0), "__call__"), (nn.Sequential([nn.relu]), "__call__"), (drop_path(), "predict")],
    ids=["rate 0", "no dropout", "drop path"],
)
def test_a_network_that_drops_nothing_is_refused(module, method):
    def logits(key, image):
        return module.init_with_output({"params": key, keys.MONTE_CARLO: key}, image, method=method)[0]

    image = jnp.zeros((2, 16, 16, 3))
    with pytest.raises(UserError, match=r"Samples need a network with dropout; this one has none, or rate 0 .*\. Set samples to 0"):
        sampled(logits, image, jnp.arange(2), seed=0, samples=2)


def test_fingerprints_tell_images_apart():
    assert len(set(fingerprints(IMAGE).tolist())) == 3
    np.testing.assert_array_equal(fingerprints(IMAGE), fingerprints(np.asfortranarray(IMAGE)))


def test_the_stream_of_training_drops_nothing_in_evaluation():
    """A frozen encoder runs in evaluation mode while its head trains with that stream."""
    found = jitted.apply(Dropped(0.5), {}, jnp.asarray(IMAGE), rngs={"dropout": jax.random.key(0)})
    np.testing.assert_array_equal(found, IMAGE)
