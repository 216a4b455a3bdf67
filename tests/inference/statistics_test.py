"""aeseg/inference/statistics.py: batch norm of one image at a time, against torch's in training."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from aeseg.inference.statistics import by_own_statistics
from aeseg.models import layers
from aeseg.types import UserError

IMAGE = np.array([[[[0.0, 5.0], [2.0, 5.0]], [[4.0, 1.0], [6.0, 1.0]]], [[[9.0, 0.0], [0.0, 0.0]], [[0.0, 8.0], [3.0, 0.0]]]], np.float32)
"""Two images of 2x2 pixels and two channels; of the first the channels have means 3 and 3, variances 5 and 4."""
SCALE, BIAS = np.array([2.0, 0.5], np.float32), np.array([1.0, -1.0], np.float32)
VARIABLES = {
    "params": {"norm": {"scale": SCALE, "bias": BIAS}},
    "batch_stats": {"norm": {"mean": np.full(2, 7.0, np.float32), "var": np.full(2, 3.0, np.float32)}},
}


class Normed(nn.Module):
    """Batch norm and dropout: the normed channels are the logits."""

    @nn.compact
    def predict(self, image):
        normed = layers.normalise(image, "batch", train=False, dtype="float32", name="norm")
        return layers.dropout(self, normed, 0.5, train=False)


def predicted(image):
    return np.asarray(jax.jit(lambda variables, image: by_own_statistics(Normed(), variables, image))(VARIABLES, image))


def test_one_image_is_normed_by_its_own_mean_and_variance():
    by_hand = (IMAGE[0] - 3) / np.sqrt(np.array([5, 4]) + 1e-5) * SCALE + BIAS
    np.testing.assert_allclose(predicted(IMAGE)[0], by_hand, rtol=1e-5)


def test_each_row_is_what_torchs_batch_norm_gives_in_training_for_a_batch_of_it_alone():
    theirs = torch.nn.BatchNorm2d(2).train()
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(SCALE))
        theirs.bias.copy_(torch.tensor(BIAS))
        expected = [theirs(torch.tensor(row.transpose(2, 0, 1)[None])).numpy()[0].transpose(1, 2, 0) for row in IMAGE]
    np.testing.assert_allclose(predicted(IMAGE), expected, rtol=1e-5, atol=1e-6)


def test_rows_that_fill_a_batch_up_change_nothing():
    filled = np.concatenate([IMAGE, np.zeros_like(IMAGE)])
    np.testing.assert_array_equal(predicted(filled)[:2], predicted(IMAGE))


def test_with_the_running_averages_it_is_another_network():
    by_averages = Normed().apply(VARIABLES, jnp.asarray(IMAGE), method="predict")
    np.testing.assert_allclose(by_averages, (IMAGE - 7) / np.sqrt(3 + 1e-5) * SCALE + BIAS, rtol=1e-5)
    assert not np.allclose(by_averages, predicted(IMAGE))


def test_a_network_without_batch_norm_is_refused():
    with pytest.raises(
        UserError, match=r"Per-image statistics need a network with batch norm; this one has none\. Leave out batch_statistics\."
    ):
        by_own_statistics(Normed(), {"params": {}}, jnp.asarray(IMAGE))
