"""The smallest run there is: a tiny denoising autoencoder on a few scenes."""

import functools
from types import SimpleNamespace

import numpy as np

from aeseg.data.sources.scenes import Scenes
from aeseg.spec import build, recipe, spec
from aeseg.training import loop, mesh, state, step
from aeseg.training.optimiser import adamw

IMAGES = Scenes(records=16, height=16, width=16)
OPTIMISER = build(spec(adamw, learning_rate=1e-2, steps=6, warmup=2, clip=1.0))


def batches(start, size=8):
    """Yield endless batches; batch n has the records n * size ...."""
    step = start
    while True:
        yield {"image": np.stack([IMAGES[(step * size + row) % len(IMAGES)]["image"] for row in range(size)])}
        step += 1


def run(steps=6, devices=(), microbatches=1, method="denoising", batches=batches, **fields):
    """Return a run of `steps` steps that saves every 2."""
    parts = {
        "method": build(recipe("aeseg.methods", method, "tiny")),
        "optimiser": OPTIMISER,
        "mesh": mesh.create(devices=devices),
        "batches": batches,
        "steps": steps,
        "microbatches": microbatches,
    }
    numbers = {"seed": 0, "ema": 0.0, "log_every": 2, "evaluate_every": 100, "save_every": 2}
    return SimpleNamespace(**{**parts, **numbers, **fields})


def initial_state(run):
    """Return an initial state of a run, and trace equal runs once."""
    assert run.optimiser is OPTIMISER
    return state.jitted(_start(run.method, run.seed, run.ema > 0), run.mesh)()


@functools.cache
def _start(method, seed, ema):
    return lambda: state.initial(method, OPTIMISER, next(batches(0)), seed, ema)


def train_step(run):
    """Return a run's train step; equal runs share its program."""
    assert run.optimiser is OPTIMISER
    return _step(run.method, run.mesh, run.microbatches, run.seed, run.ema)


@functools.lru_cache(maxsize=4)
def _step(method, mesh, microbatches, seed, ema):
    return step.train_step(method, OPTIMISER, mesh, microbatches, seed, ema)


def trained(run, state, checkpoints, log, evaluate=lambda state: {}, picture=lambda state: None, **how):
    """Return the outcome of the loop, by default without numbers and pictures."""
    return loop.train(run, state, checkpoints, log, evaluate, picture, **how)
