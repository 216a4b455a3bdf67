"""aeseg/models/norms.py: batch norm against linen's and torch's, in values, gradients and running averages."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from aeseg.models import norms


def trained(module, dtype="float32"):
    """Return the output, the gradients of a weighted sum of it, and the running averages of one training step."""
    image = (3 * jax.random.normal(jax.random.key(0), (4, 5, 3, 6)) + 2).astype(dtype)
    weights = jax.random.normal(jax.random.key(1), image.shape)
    params = {"scale": 1 + jnp.arange(6.0), "bias": -jnp.arange(6.0)}
    statistics = {"mean": jnp.ones(6), "var": 2 * jnp.ones(6)}

    def weighted(params, image):
        output, updated = module.apply(
            {"params": params, "batch_stats": statistics}, image, use_running_average=False, mutable=["batch_stats"]
        )
        return jnp.sum(output.astype(jnp.float32) * weights), (output, updated["batch_stats"])

    (_, kept), gradients = jax.value_and_grad(weighted, argnums=(0, 1), has_aux=True)(params, image)
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), {"kept": kept, "gradients": gradients})


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 3e-2)])
def test_batch_norm_trains_as_in_linen(dtype, tolerance):
    fields = {"momentum": 0.9, "epsilon": 1e-5, "dtype": dtype}
    ours, theirs = trained(norms.BatchNorm(**fields), dtype), trained(nn.BatchNorm(**fields), dtype)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max()), ours, theirs)


def test_batch_norm_has_the_gradients_of_torch():
    ours = trained(norms.BatchNorm(momentum=0.9, epsilon=1e-5))
    image = 3 * jax.random.normal(jax.random.key(0), (4, 5, 3, 6)) + 2
    tensor = torch.tensor(np.asarray(image).transpose(0, 3, 1, 2)).requires_grad_()
    theirs = torch.nn.BatchNorm2d(6)
    theirs.weight.data, theirs.bias.data = 1 + torch.arange(6.0), -torch.arange(6.0)
    weights = torch.tensor(np.asarray(jax.random.normal(jax.random.key(1), image.shape)).transpose(0, 3, 1, 2))
    (theirs(tensor) * weights).sum().backward()
    of_params, of_image = ours["gradients"]
    np.testing.assert_allclose(of_image, tensor.grad.numpy().transpose(0, 2, 3, 1), atol=2e-5)
    np.testing.assert_allclose(of_params["scale"], theirs.weight.grad, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(of_params["bias"], theirs.bias.grad, rtol=1e-4, atol=1e-4)
