"""aeseg/inference/statistics.py: batch norm of one image at a time, against torch's in training."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from aeseg.inference.statistics import by_own_statistics, population_averages
from aeseg.models import layers
from aeseg.types import UserError

IMAGE = np.array([[[[0.0, 5.0], [2.0, 5.0]], [[4.0, 1.0], [6.0, 1.0]]], [[[9.0, 0.0], [0.0, 0.0]], [[0.0, 8.0], [3.0, 0.0]]]], np.float32)
"""Two images of 2x2 pixels and two channels; the channels of the first have means 3 and 3, variances 5 and 4."""
SCALE, BIAS = np.array([2.0, 0.5], np.float32), np.array([1.0, -1.0], np.float32)
VARIABLES = {
    "params": {"norm": {"scale": SCALE, "bias": BIAS}},
    "batch_stats": {"norm": {"mean": np.full(2, 7.0, np.float32), "var": np.full(2, 3.0, np.float32)}},
}


class Normed(nn.Module):
    """Batch norm and dropout: the normalised channels are the logits."""

    @nn.compact
    def predict(self, image):
        normed = layers.normalise(image, "batch", train=False, dtype="float32", name="norm")
        return layers.dropout(self, normed, 0.5, train=False)


def predicted(image):
    return np.asarray(jax.jit(lambda variables, image: by_own_statistics(Normed(), variables, image))(VARIABLES, image))


def test_one_image_is_normalised_by_its_own_mean_and_variance():
    by_hand = (IMAGE[0] - 3) / np.sqrt(np.array([5, 4]) + 1e-5) * SCALE + BIAS
    np.testing.assert_allclose(predicted(IMAGE)[0], by_hand, rtol=1e-5)


def test_each_row_equals_torchs_training_batch_norm_on_a_batch_of_that_row():
    theirs = torch.nn.BatchNorm2d(2).train()
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(SCALE))
        theirs.bias.copy_(torch.tensor(BIAS))
        expected = [theirs(torch.tensor(row.transpose(2, 0, 1)[None])).numpy()[0].transpose(1, 2, 0) for row in IMAGE]
    np.testing.assert_allclose(predicted(IMAGE), expected, rtol=1e-5, atol=1e-6)


def test_padding_rows_change_nothing():
    filled = np.concatenate([IMAGE, np.zeros_like(IMAGE)])
    np.testing.assert_array_equal(predicted(filled)[:2], predicted(IMAGE))


def test_running_averages_give_other_outputs():
    by_averages = Normed().apply(VARIABLES, jnp.asarray(IMAGE), method="predict")
    np.testing.assert_allclose(by_averages, (IMAGE - 7) / np.sqrt(3 + 1e-5) * SCALE + BIAS, rtol=1e-5)
    assert not np.allclose(by_averages, predicted(IMAGE))


def test_a_network_without_batch_norm_is_refused():
    with pytest.raises(
        UserError, match=r"Per-image statistics need a network with batch norm; this one has none\. Leave out batch_statistics\."
    ):
        by_own_statistics(Normed(), {"params": {}}, jnp.asarray(IMAGE))


class Twice(nn.Module):
    """An encoder with two batch norms, and a ReLU and a convolution between them."""

    @nn.compact
    def __call__(self, image, *, train):
        features = nn.relu(layers.normalise(image, "batch", train=train, dtype="float32", name="first"))
        features = layers.Convolution(3, size=1, name="mix")(features)
        return {1: layers.normalise(features, "batch", train=train, dtype="float32", name="second")}


def test_population_averages_are_the_moments_of_all_images_with_torch_on_each_batch():
    """At the first norm: NumPy's moments over all images; at the second: moments of torch's features, batch by batch."""
    random = np.random.default_rng(0)
    images = random.random((7, 6, 5, 2), np.float32)
    variables = jax.jit(lambda: Twice().init(jax.random.key(0), jnp.asarray(images[:1]), train=False))()
    found = population_averages(Twice(), variables, [images[:4], images[4:]])
    np.testing.assert_allclose(found["first"]["mean"], images.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found["first"]["var"], images.var((0, 1, 2)), rtol=1e-5)
    kernel = torch.tensor(np.asarray(variables["params"]["mix"]["kernel"])[0, 0])
    seen = []
    for batch in (images[:4], images[4:]):
        normed = torch.nn.functional.batch_norm(torch.tensor(batch).permute(0, 3, 1, 2), None, None, training=True)
        seen.append(torch.relu(normed).permute(0, 2, 3, 1).reshape(-1, 2) @ kernel)
    features = torch.cat(seen)
    np.testing.assert_allclose(found["second"]["mean"], features.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["second"]["var"], features.var(0, unbiased=False), rtol=1e-4)


def test_an_encoder_without_batch_norm_has_no_averages_and_no_images_are_refused():
    assert population_averages(nn.Dense(1), {"params": {}}, [IMAGE]) == {}
    with pytest.raises(UserError, match="Batch norm averages need images"):
        population_averages(Twice(), VARIABLES, [])
