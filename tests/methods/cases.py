"""Helpers of the tests of methods: a batch, tiny networks, and microbatches."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from aeseg.types import IGNORE

CLASSES = 3


class Encoder(nn.Module):
    """Features at strides 1, 2 and 4, by batch-normalised 1x1 convolutions."""

    @nn.compact
    def __call__(self, image, *, train):
        features = nn.BatchNorm(use_running_average=not train)(image)
        pyramid = {}
        for stride in (1, 2, 4):
            pyramid[stride] = nn.Conv(4, (1, 1))(nn.avg_pool(features, (stride, stride), (stride, stride)))
        return pyramid


class PlainEncoder(nn.Module):
    """Features at strides 1, 2 and 4 that do not depend on other rows."""

    @nn.compact
    def __call__(self, image, *, train):
        features = nn.tanh(nn.Conv(4, (3, 3))(image))
        return {stride: nn.avg_pool(features, (stride, stride), (stride, stride)) for stride in (1, 2, 4)}


class Decoder(nn.Module):
    """An image's values from stride 1."""

    @nn.compact
    def __call__(self, pyramid, *, train):
        return nn.Conv(3, (1, 1))(pyramid[1])


class Head(nn.Module):
    """Logits at the finest strides: one more for each `deep_supervision`."""

    classes: int = CLASSES
    deep_supervision: int = 0

    @nn.compact
    def __call__(self, pyramid, *, train):
        return {stride: nn.Conv(self.classes, (1, 1))(pyramid[stride]) for stride in (2, 4, 1)[: 1 + self.deep_supervision]}


def batch(rows: int = 8) -> dict[str, jax.Array]:
    """Return images and labels whose numbers of labelled pixels differ between rows; two rows are padding."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, CLASSES, (rows, 12, 16))
    label[rng.random(label.shape) < np.linspace(0, 1, rows)[:, None, None]] = IGNORE
    valid = np.ones(rows, bool)
    valid[[1, rows - 1]] = False
    return {
        "image": jnp.asarray(rng.random((rows, 12, 16, 3)), jnp.float32),
        "label": jnp.asarray(label, jnp.int32),
        "valid": jnp.asarray(valid),
        "index": jnp.arange(16, 16 + rows, dtype=jnp.int32),
    }


def loss_and_gradient(method, variables, batch, microbatches=1):
    """Return the loss of the global batch, summed over microbatches as in a train step."""
    denominators = method.denominators(batch)

    def loss(params, part):
        means = method.apply({**variables, "params": params}, part, train=True, rngs={"noise": jax.random.key(7)})
        return sum(c * means[name].total / denominators[name] for name, c in method.coefficients.items())

    rows = len(batch["valid"]) // microbatches
    parts = [{name: leaf[start : start + rows] for name, leaf in batch.items()} for start in range(0, rows * microbatches, rows)]
    slope = jax.jit(jax.value_and_grad(loss))
    values = [slope(variables["params"], part) for part in parts]
    return jax.tree.map(lambda *leaves: sum(leaves), *values)


def initial(method, batch):
    return jax.jit(lambda: method.init({"params": jax.random.key(0), "noise": jax.random.key(1)}, batch, train=True))()


def assert_microbatches_change_nothing(method, batch):
    variables = initial(method, batch)
    whole = loss_and_gradient(method, variables, batch)
    assert np.isfinite(whole[0])
    for microbatches in (2, 4):
        parts = loss_and_gradient(method, variables, batch, microbatches)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), whole, parts)


def assert_denominators_are_the_weights(method, batch):
    variables = initial(method, batch)
    denominators = method.denominators(batch)
    means = jax.jit(lambda variables: method.apply(variables, batch, train=False))(variables)
    assert set(means) == set(denominators)
    assert set(method.coefficients) <= set(means)
    for name, mean in means.items():
        assert mean.weight == denominators[name], name
        assert mean.total.dtype == mean.weight.dtype == denominators[name].dtype == jnp.float32
