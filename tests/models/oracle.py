"""Helpers to compare networks with torch: torch's functions on our variables."""

import jax
import numpy as np
import torch
from torch.nn import functional

from aeseg import tree

BY_NAME = {
    "kernel": lambda random, shape: random.normal(size=shape) * (2 / np.prod(shape[:-1])) ** 0.5,
    "scale": lambda random, shape: random.uniform(0.5, 1.5, shape),
    "var": lambda random, shape: random.uniform(0.5, 1.5, shape),
    "slope": lambda random, shape: random.uniform(0.1, 0.5, shape),
    "mean": lambda random, shape: 0.3 * random.normal(size=shape),
    "bias": lambda random, shape: 0.3 * random.normal(size=shape),
}
"""Random values of each kind of variable: none has its initial value, and features keep their scale from layer to layer."""


class Torch:
    """Torch's functions on the variables of one of our modules; `within` selects a submodule."""

    def __init__(self, flat, scope=""):
        self.flat, self.scope = flat, scope

    def within(self, name):
        return Torch(self.flat, f"{self.scope}{name}/")

    def tensor(self, path, collection="params"):
        """Return the variable of this name, or None."""
        array = self.flat.get(f"{collection}/{self.scope}{path}")
        return None if array is None else torch.tensor(array)

    def convolved(self, features, name, **how):
        return functional.conv2d(features, self.tensor(f"{name}/kernel").permute(3, 2, 0, 1), self.tensor(f"{name}/bias"), **how)

    def transposed(self, features, name, **how):
        kernel, bias = self.tensor(f"{name}/kernel").permute(2, 3, 0, 1), self.tensor(f"{name}/bias")
        return functional.conv_transpose2d(features, kernel, bias, stride=2, **how)

    def normalised(self, features, name, epsilon=1e-5):
        moments = [self.tensor(f"{name}/{each}", "batch_stats") for each in ("mean", "var")]
        affine = [self.tensor(f"{name}/{each}") for each in ("scale", "bias")]
        return functional.batch_norm(features, *moments, *affine, eps=epsilon)


def variables_of(module, *inputs):
    """A module's variables, drawn here: what initialises them would be compiled."""
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda *inputs: module.init(jax.random.key(0), *inputs, train=False), *inputs)
    return jax.tree_util.tree_map_with_path(lambda path, leaf: BY_NAME[path[-1].key](random, leaf.shape).astype(np.float32), shapes)


def with_variables(module, *inputs):
    """(what a module makes of its inputs in evaluation, Torch on its variables)."""
    variables = variables_of(module, *inputs)
    return jax.jit(lambda variables, *inputs: module.apply(variables, *inputs, train=False))(variables, *inputs), Torch(
        tree.flatten(variables)
    )


def image(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def torch_image(array):
    return torch.tensor(np.asarray(array).transpose(0, 3, 1, 2).copy())


def pooled(features):
    """Return (2x2 maxima, with an odd last row or column pooled separately; their indices)."""
    return functional.max_pool2d(features, 2, ceil_mode=True, return_indices=True)


def unpooled(features, finer):
    """Return the features at the positions of the finer features' maxima."""
    return functional.max_unpool2d(features, pooled(finer)[1], 2, output_size=finer.shape[2:])


def assert_equals(ours, theirs):
    np.testing.assert_allclose(ours, theirs.numpy().transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-4)
