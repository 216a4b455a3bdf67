"""aeseg/training/muon.py: which parameters are matrices, and how they move."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg.training import muon

NO_MATRIX = [
    ("encoder/blocks/norm1/scale", (12, 8)), ("encoder/blocks/query/bias", (12, 8)), ("encoder/position_table", (16, 8)),
    ("encoder/stage0/block0/depthwise/kernel", (7, 7, 1, 8)), ("encoder/blocks/kernel", (12, 8)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "shape"), NO_MATRIX)
def test_norms_tables_and_single_filters_are_not_matrices(name, shape):
    assert muon.matrix_axes(name, shape) is None


def test_kernels_are_matrices_and_stacks_are_batches_of_matrices():
    assert muon.matrix_axes("head/kernel", (3, 4)) == ((0,), (1,))
    assert muon.matrix_axes("encoder/blocks/query/kernel", (12, 3, 4)) == ((1,), (2,))
    assert muon.matrix_axes("encoder/convolution/kernel", (3, 3, 8, 4)) == ((0, 1, 2), (3,))
    assert muon.matrix_axes("encoder/stage1/blocks/kernel", (5, 3, 3, 8, 4)) == ((1, 2, 3), (4,))


def moved(gradient):
    transform = muon.scale_by_orthogonal(beta=0.95, nesterov=True, rms=0.2)
    return transform.update(gradient, transform.init(gradient))[0]


def test_every_direction_of_a_matrix_moves_about_equally():
    """Five steps bring singular values into about [0.7, 1.2] (Jordan 2024); a random 24 x 8 matrix has them far apart."""
    gradient = jax.random.normal(jax.random.key(0), (24, 8)) * jnp.logspace(-2, 0, 8)[None]
    values = np.linalg.svd(moved({"kernel": gradient})["kernel"] / (0.2 * 24**0.5), compute_uv=False)
    assert np.linalg.cond(gradient) > 50
    assert values.min() > 0.6
    assert values.max() < 1.25


def test_a_stack_and_a_convolution_move_as_their_separate_matrices():
    kernel = jax.random.normal(jax.random.key(0), (3, 2, 2, 4, 6))
    stack = moved({"blocks": {"kernel": kernel}})["blocks"]["kernel"]
    for layer in range(3):
        flat = moved({"kernel": kernel[layer].reshape(16, 6)})["kernel"]
        np.testing.assert_allclose(stack[layer].reshape(16, 6), flat, atol=1e-5)
