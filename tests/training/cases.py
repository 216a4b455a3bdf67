"""The smallest run there is: a tiny denoising autoencoder on a few scenes."""

from types import SimpleNamespace

import numpy as np

from aeseg.data.sources.scenes import Scenes
from aeseg.spec import build, recipe, spec
from aeseg.training import loop, mesh
from aeseg.training.optimiser import adamw

IMAGES = Scenes(records=16, height=16, width=16)


def batches(start, size=8):
    """Yield endless batches; batch n has the records n * size ...."""
    step = start
    while True:
        yield {"image": np.stack([IMAGES[(step * size + row) % len(IMAGES)]["image"] for row in range(size)])}
        step += 1


def run(steps=6, devices=(), microbatches=1, method="denoising", batches=batches, **fields):
    """Return a run of `steps` steps that saves every 2."""
    optimiser = build(spec(adamw, learning_rate=1e-2, steps=6, warmup=2, clip=1.0))
    parts = {
        "method": build(recipe("aeseg.methods", method, "tiny")),
        "optimiser": optimiser,
        "mesh": mesh.create(devices=devices),
        "batches": batches,
        "steps": steps,
        "microbatches": microbatches,
    }
    numbers = {"seed": 0, "ema": 0.0, "log_every": 2, "evaluate_every": 100, "save_every": 2}
    return SimpleNamespace(**{**parts, **numbers, **fields})


def trained(run, state, checkpoints, log, evaluate=lambda state: {}, picture=lambda state: None, **how):
    """Return the outcome of the loop, by default without numbers and pictures."""
    return loop.train(run, state, checkpoints, log, evaluate, picture, **how)
