"""ENet's bottlenecks against torch, in evaluation, with the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn import functional

from aeseg import tree
from aeseg.models.bottlenecks import Bottleneck, Downsampling, PReLU, Upsampling
from aeseg.types import UserError


class Torch:
    """Torch's functions on the variables of one of our modules."""

    def __init__(self, variables):
        self.flat = tree.flatten(variables)

    def weight(self, name, order):
        return torch.tensor(np.asarray(self.flat[f"params/{name}/kernel"]).transpose(order).copy())

    def normalised(self, features, name):
        numbers = [self.flat[path] for path in (f"batch_stats/{name}_norm/mean", f"batch_stats/{name}_norm/var")]
        numbers += [self.flat[path] for path in (f"params/{name}_norm/scale", f"params/{name}_norm/bias")]
        return functional.batch_norm(features, *(torch.tensor(np.asarray(array)) for array in numbers))

    def convolved(self, features, name, **how):
        return functional.conv2d(features, self.weight(name, (3, 2, 0, 1)), **how)

    def activated(self, features, name):
        slope = self.flat.get(f"params/{name}_activation/slope")
        return torch.relu(features) if slope is None else functional.prelu(features, torch.tensor(np.asarray(slope)))

    def layer(self, features, name, **how):
        return self.activated(self.normalised(self.convolved(features, name, **how), name), name)

    def expanded(self, features):
        return self.normalised(self.convolved(features, "expand"), "expand")


def with_variables(module, *inputs):
    """(its output, Torch on its variables), none of which has its initial value."""
    random = np.random.default_rng(0)
    variables = module.init(jax.random.key(1), *inputs, train=False)
    variables = jax.tree.map(lambda leaf: (leaf + 0.3 * random.random(leaf.shape)).astype(np.float32), variables)
    return module.apply(variables, *inputs, train=False), Torch(variables)


def image(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def torch_image(array):
    return torch.tensor(np.asarray(array).transpose(0, 3, 1, 2).copy())


def assert_equals(ours, theirs):
    np.testing.assert_allclose(ours, theirs.numpy().transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("activation", ["prelu", "relu"])
@pytest.mark.parametrize(("kernels", "dilation"), [(((3, 3),), 1), (((3, 3),), 4), (((5, 1), (1, 5)), 1)])
def test_a_regular_a_dilated_and_an_asymmetric_bottleneck_equal_torch(kernels, dilation, activation):
    features = image(2, 7, 9, 8)
    found, other = with_variables(Bottleneck(kernels, dilation, activation=activation), features)
    branch = other.layer(torch_image(features), "project")
    for place in range(len(kernels)):
        branch = other.convolved(branch, f"middle{place}", padding="same", dilation=dilation)
    branch = other.activated(other.normalised(branch, "middle"), "middle")
    assert_equals(found, other.activated(torch_image(features) + other.expanded(branch), "sum"))


def test_downsampling_equals_torch():
    features = image(2, 6, 8, 4)
    found, other = with_variables(Downsampling(12), features)
    branch = other.layer(torch_image(features), "project", stride=2)
    branch = other.activated(other.normalised(other.convolved(branch, "middle0", padding="same"), "middle"), "middle")
    main = functional.pad(functional.max_pool2d(torch_image(features), 2), (0, 0, 0, 0, 0, 8))
    assert_equals(found, other.activated(main + other.expanded(branch), "sum"))


@pytest.mark.parametrize("size", [(6, 8), (5, 7)], ids=["even", "odd"])
def test_upsampling_equals_torch_with_the_indices_of_its_pooling(size):
    features, finer = image(2, 3, 4, 8), image(2, *size, 4, seed=1)
    found, other = with_variables(Upsampling(), features, finer)
    _, places = functional.max_pool2d(torch_image(finer), 2, ceil_mode=True, return_indices=True)
    main = other.normalised(other.convolved(torch_image(features), "main"), "main")
    main = functional.max_unpool2d(main, places, 2, output_size=size)
    branch = functional.conv_transpose2d(other.layer(torch_image(features), "project"), other.weight("middle0", (2, 3, 0, 1)), stride=2)
    branch = torch.relu(other.normalised(branch[:, :, : size[0], : size[1]], "middle"))
    assert_equals(found, torch.relu(main + other.expanded(branch)))


def test_a_prelu_has_a_slope_for_each_channel():
    found, variables = PReLU().init_with_output(jax.random.key(0), jnp.array([[[[-4.0, 4.0]]]]))
    np.testing.assert_array_equal(found, [[[[-1, 4]]]])
    assert variables["params"]["slope"].shape == (2,)


def test_channels_that_shrink_where_zeros_are_added_are_refused():
    with pytest.raises(UserError, match="at least the 12 channels that it reads; its width is 8"):
        Downsampling(8).init(jax.random.key(0), jnp.zeros((1, 4, 4, 12)), train=False)
