"""Random numbers of a method in evaluation depend only on the record, not on batches, devices or processes."""

import jax
import numpy as np
import pytest

from aeseg.data.loader import evaluation_batches
from aeseg.data.sources.scenes import Scenes
from aeseg.inference.evaluate import autoencoder
from aeseg.spec import build, recipe
from aeseg.training import mesh, state, step

SCENES = Scenes(records=10, height=32, width=32)


@pytest.mark.spread
@pytest.mark.parametrize("method", ["denoising", "masked"])
def test_validation_depends_neither_on_batches_nor_on_devices_nor_on_processes(method):
    ours = build(recipe("aeseg.methods", method, "tiny"))
    row = state.example(next(evaluation_batches(SCENES, (), 1)))
    variables = jax.jit(lambda: dict(ours.init({"params": jax.random.key(0)}, row, train=False)))()
    means = jax.jit(lambda batch: dict(ours.apply(variables, step.prepare(batch), train=False)))

    def scores(*parts, devices=1):
        placed = mesh.create(devices=jax.devices()[:devices])
        batches = [mesh.place(placed, batch) for part in parts for batch in part]
        return autoencoder(lambda batch: means(batch), batches, ours.coefficients)

    whole = scores(evaluation_batches(SCENES, (), 10))
    assert whole["images"] == 10
    others = {
        "batches of 4": scores(evaluation_batches(SCENES, (), 4)),
        "two processes": scores(*(evaluation_batches(SCENES, (), 8, process, 2) for process in range(2))),
        "four devices": scores(evaluation_batches(SCENES, (), 8), devices=4),
    }
    for how, numbers in others.items():
        assert numbers == pytest.approx(whole, rel=1e-5), how
    # Draws do differ between records: if a set has one image twice, its two errors differ.
    twice = {name: np.stack([array[0], array[0]]) for name, array in next(evaluation_batches(SCENES, (), 1)).items()}
    first, second = (autoencoder(means, [{**twice, "index": np.array([i, i], np.int32)}], ours.coefficients)["loss"] for i in (0, 1))
    assert first != second
