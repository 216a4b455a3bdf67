import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg.compression import scales
from aeseg.methods.hyperprior import HyperDecoder
from aeseg.models.entropy import LEAST_SCALE, LEVELS, LOG_STEP
from aeseg.types import UserError
from tests import jitted

RANDOM = np.random.default_rng(0)
HYPER = RANDOM.integers(-30, 31, (3, 2, 4))


@pytest.fixture(scope="module")
def params():
    decoder = HyperDecoder(4)
    fresh = jitted.init(decoder, jax.random.key(0), jnp.zeros((1, 3, 2, 4)), 5)["params"]
    return jax.tree.map(lambda leaf: np.asarray(leaf) + 0.1 * RANDOM.normal(size=leaf.shape).astype(np.float32), fresh)


def test_levels_are_the_hyper_decoders_scales_rounded_to_the_nearest(params):
    logs = jitted.apply(HyperDecoder(4), {"params": params}, jnp.asarray(HYPER[None], jnp.float32), 5)
    exact = (np.asarray(logs, np.float64)[0, :11, :7] - np.log(LEAST_SCALE)) / LOG_STEP
    found = scales.levels(HYPER, scales.layers(params), (11, 7))
    assert found.shape == (11, 7, 5)
    assert np.abs(found - np.clip(exact, 0, LEVELS - 1)).max() < 0.5 + 1e-2
    assert len(np.unique(found)) > 10, "the test should see many levels"


def test_the_order_of_sums_changes_nothing(params):
    """Floats would differ: each machine and program sums in its own order."""
    expected = scales.levels(HYPER, scales.layers(params), (12, 8))
    order = RANDOM.permutation(4)
    moved = jax.tree.map(np.copy, params)
    moved["convolution0"]["kernel"] = params["convolution0"]["kernel"][:, :, order][..., order]
    moved["convolution0"]["bias"] = params["convolution0"]["bias"][order]
    moved["convolution1"]["kernel"] = params["convolution1"]["kernel"][:, :, order][..., order]
    moved["convolution1"]["bias"] = params["convolution1"]["bias"][order]
    moved["last"]["kernel"] = params["last"]["kernel"][:, :, order]
    np.testing.assert_array_equal(scales.levels(HYPER[..., order], scales.layers(moved), (12, 8)), expected)


def test_sums_of_the_largest_weights_and_values_do_not_overflow():
    largest = {"kernel": np.full((4, 4, 1, 1), 2**15 / 16 - 1, np.float32), "bias": np.full(1, 2**15 - 1, np.float32)}
    last = {"kernel": np.full((3, 3, 1, 1), 400.0, np.float32), "bias": np.zeros(1, np.float32)}
    layers = scales.layers({"convolution0": largest, "convolution1": largest, "last": last})
    found = scales.levels(np.full((2, 2, 1), 2**30), layers, (8, 8))
    assert (found == LEVELS - 1).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_weights_that_integers_cannot_hold_are_refused(params, value):
    wrong = jax.tree.map(np.copy, params)
    wrong["convolution1"]["kernel"][0, 0, 0, 0] = value
    with pytest.raises(UserError, match="too large for integer arithmetic"):
        scales.layers(wrong)
