"""Helpers of the tests of `variational` and `quantised`: linear networks, every encoder before a bottleneck, and complete runs."""

import functools
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aeseg import images, keys, tree
from aeseg.methods.segmenter import Segmenter
from aeseg.models.decoders.linear import LinearDecoder
from aeseg.spec import build, names, recipe
from aeseg.training import checkpoints
from tests import lanes
from tests.contract import PACKAGES, shapes, training_shapes
from tests.methods import cases
from tests.training.cases import batches, run
from tests.training.loop_test import trained

STRIDE = 2
IMAGE = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)


class Patches(nn.Module):
    """The pixels of each 2 x 2 patch as features."""

    @nn.compact
    def __call__(self, image, *, train):
        return {STRIDE: images.patches(image, STRIDE)}


def rngs(seed=0):
    """Return a key for every stream of a train step."""
    return {name: keys.stream(jax.random.key(seed), name, 0) for name in keys.STREAMS}


def train_step(method, variables, batch, microbatches=1):
    """Return (each microbatch's Means, the variables after the step); the microbatches are strided slices of the rows."""
    found = []
    for first in range(microbatches):
        rows = {name: leaf[first::microbatches] for name, leaf in batch.items()}
        means, updated = _stepped(method)(variables, rows)
        variables = {**variables, **updated}
        found.append(means)
    return found, variables


@functools.cache
def _stepped(method):
    def call(variables, rows):
        return method.apply(variables, rows, train=True, rngs=rngs(), mutable=[name for name in variables if name != "params"])

    return jax.jit(call)


def check_reads_encoder(make, name):
    """Assert that `make(encoder, decoder)` traces with the encoder of that file and a decoder at its coarsest stride."""
    encoder = build(recipe(PACKAGES["encoder"], name, "tiny"))
    stride = max(shapes(encoder, IMAGE)[1])
    row = {"image": IMAGE, "valid": jax.ShapeDtypeStruct((2,), bool), "index": jax.ShapeDtypeStruct((2,), jnp.int32)}
    method = make(encoder, LinearDecoder(stride))
    variables, means = shapes(method, row)
    assert "psnr" in means
    assert "psnr" in training_shapes(method, variables, row)


def check_starts_a_segmenter(method, batch, head=None):
    """Assert that a segmenter with the same encoder loads exactly the encoder's leaves."""
    donor = jax.jit(lambda: method.init(jax.random.key(0), batch, train=False))()
    segmenter = Segmenter(method.encoder.clone(parent=None), head or cases.Head(), cases.CLASSES)
    fresh = jax.jit(lambda: segmenter.init(jax.random.key(5), batch, train=False))()
    variables, taken = checkpoints.graft(dict(fresh), dict(donor))
    assert taken
    assert all(name.split("/")[1] == "encoder" for name in taken)
    for name in taken:
        np.testing.assert_array_equal(tree.flatten(variables)[name], tree.flatten(dict(donor))[name])


def check_resumes_and_spreads(tmp_path, method):
    """Assert that a run killed after 4 of 6 steps ends with the same bits, and that 8 devices and 2 microbatches only change rounding."""

    def state(workdir, steps, devices=1, microbatches=1):
        chosen = run(steps, jax.devices()[:devices], microbatches, batches=functools.partial(batches, size=16))
        return jax.device_get(trained(tmp_path / workdir, SimpleNamespace(**{**vars(chosen), "method": method})).state)

    whole, reference = state("whole", 6), state("parts", 4)
    resumed = tree.flatten(state("parts", 6))
    for name, leaf in tree.flatten(whole).items():
        np.testing.assert_array_equal(resumed[name], leaf, err_msg=name)
    with lanes.spread():
        spread = state("spread", 4, devices=8, microbatches=2)
    for kind in ("params", "collections"):
        left, right = (tree.flatten(getattr(each, kind)) for each in (reference, spread))
        for name, leaf in left.items():
            if name.endswith("key/bias"):  # softmax does not depend on it: its gradient is rounding, which Adam scales to full steps
                continue
            np.testing.assert_allclose(right[name], leaf, rtol=1e-3, atol=1e-5, err_msg=name)


every_encoder = pytest.mark.parametrize("name", names(PACKAGES["encoder"]))
"""Run a test for the encoder of every file."""
