"""ENet's bottlenecks against torch, in evaluation, with the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn import functional

from aeseg.models.bottlenecks import Bottleneck, Downsampling, PReLU, Upsampling
from aeseg.types import UserError
from tests.models.oracle import assert_equals, image, pooled, torch_image, unpooled, with_variables


def normalised(other, features, name):
    return other.normalised(features, f"{name}_norm", epsilon=1e-3)


def activated(other, features, name):
    slope = other.tensor(f"{name}_activation/slope")
    return torch.relu(features) if slope is None else functional.prelu(features, slope)


def layer(other, features, name, **how):
    return activated(other, normalised(other, other.convolved(features, name, **how), name), name)


def summed(other, main, branch):
    """Return the output of a bottleneck, from the output of its middle convolutions."""
    branch = activated(other, normalised(other, branch, "middle"), "middle")
    return activated(other, main + normalised(other, other.convolved(branch, "expand"), "expand"), "sum")


def bottleneck(other, features, kernels=1, dilation=1):
    branch = layer(other, features, "project")
    for place in range(kernels):
        branch = other.convolved(branch, f"middle{place}", padding="same", dilation=dilation)
    return summed(other, features, branch)


def downsampling(other, features, width):
    (h, w), given = features.shape[2:], features.shape[1]
    branch = layer(other, functional.pad(features, (0, w % 2, 0, h % 2)), "project", stride=2)
    main = functional.pad(pooled(features)[0], (0, 0, 0, 0, 0, width - given))
    return summed(other, main, other.convolved(branch, "middle0", padding=1))


def upsampling(other, features, finer):
    h, w = finer.shape[2:]
    main = unpooled(normalised(other, other.convolved(features, "main"), "main"), finer)
    middle = other.transposed(layer(other, features, "project"), "middle0", padding=1, output_padding=1)
    return summed(other, main, middle[:, :, :h, :w])


@pytest.mark.parametrize("activation", ["prelu", "relu"])
@pytest.mark.parametrize(("kernels", "dilation"), [(((3, 3),), 1), (((3, 3),), 4), (((5, 1), (1, 5)), 1)])
def test_a_regular_a_dilated_and_an_asymmetric_bottleneck_equal_torch(kernels, dilation, activation):
    features = image(2, 7, 9, 8)
    found, other = with_variables(Bottleneck(kernels, dilation, activation=activation), features)
    assert_equals(found, bottleneck(other, torch_image(features), len(kernels), dilation))


def test_downsampling_equals_torch():
    features = image(2, 5, 8, 4)
    found, other = with_variables(Downsampling(12), features)
    assert_equals(found, downsampling(other, torch_image(features), 12))


@pytest.mark.parametrize(("size", "activation"), [((6, 8), "prelu"), ((5, 7), "relu")], ids=["even", "odd"])
def test_upsampling_equals_torch_with_the_indices_of_its_pooling(size, activation):
    features, finer = image(2, 3, 4, 8), image(2, *size, 4, seed=1)
    found, other = with_variables(Upsampling(activation=activation), features, finer)
    assert_equals(found, upsampling(other, torch_image(features), torch_image(finer)))


def test_a_prelu_has_a_slope_for_each_channel():
    found, variables = PReLU().init_with_output(jax.random.key(0), jnp.array([[[[-4.0, 4.0]]]]))
    np.testing.assert_array_equal(found, [[[[-1, 4]]]])
    assert variables["params"]["slope"].shape == (2,)


def test_fewer_output_channels_with_zero_padding_are_refused():
    with pytest.raises(UserError, match="a width of at least the 12 channels that it reads; its width is 8"):
        Downsampling(8).init(jax.random.key(0), jnp.zeros((1, 4, 4, 12)), train=False)
