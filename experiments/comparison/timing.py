"""Measure the seconds of each part of a comparison on this machine.  The runs reuse the compiled programs."""

import dataclasses
import os
import shutil
import time

import jax

from aeseg.runs import scores
from aeseg.runs.programs import Programs
from aeseg.runs.run import Run
from aeseg.training import checkpoints as saved

from . import training
from .arms import Arm
from .data import Spread
from .plan import Costs
from .training import TUNING_SEED
from .work import Work


def measured(work: Work, arms: dict[str, Arm], until: float) -> Costs:
    """Time a step of each segmentation and pretraining, the scoring of an image by each encoder, and the overhead of a run.

    Leaves out the parts that have not begun at the time `until`, on the clock of `time.monotonic`.
    """
    costs = Costs({}, {}, {}, 0.0, 0.0)
    path = os.path.join(work.folder, "timing")
    for arm in arms.values():
        if costs.pretrain and time.monotonic() > until:
            break
        if not arm.against:
            work.clock.bar.at(0, task=f"compiling and timing {arm.encoder}")
            config = training.segmentation(work, arm, 4, arm.rate, len(work.images.train), TUNING_SEED)
            run = training.segmenter(work, arm, config)[0].with_records(work.images.train, Spread(work.images.validation, 2))
            shutil.rmtree(path, ignore_errors=True)
            training.trained(work, run, path, None)
            costs.step[arm.encoder] = timed_step(work.programs, run)
            variables, shown = saved.load_variables(os.path.join(path, "checkpoints"))[1], Spread(work.images.validation, 4)
            began = time.perf_counter()
            scores.segmentation(run, training.predictor(work, run, variables), shown, batch=work.batch)
            costs.image[arm.encoder] = (time.perf_counter() - began) / len(shown)
            if not costs.run:
                shutil.rmtree(path, ignore_errors=True)
                began = time.perf_counter()
                training.trained(work, run, path, None)
                saved.load_variables(os.path.join(path, "checkpoints"))
                beside = time.perf_counter() - began - 4 * costs.step[arm.encoder] - 2 * costs.image[arm.encoder]
                costs = costs._replace(run=max(0.1, beside), probe=0.5 + max(0.1, beside) / 4)
        elif arm.pretraining:
            work.clock.bar.at(0, task=f"compiling and timing {arm.name}")
            _, run = training.pretraining(work, arm, 4)
            work.programs.check(run)
            costs.pretrain[arm.name] = timed_step(work.programs, run)
    shutil.rmtree(path, ignore_errors=True)
    return costs


def timed_step(programs: Programs, run: Run, seconds: float = 1.0) -> float:
    """Return the mean seconds of a train step and its batch, over the steps that fit `seconds`, after a step that compiles."""
    state, batches = programs.initial(run), run.batches(0)
    advance = programs.step(dataclasses.replace(run, steps=1_000).with_records(run.training, run.validation))
    state, terms = advance(state, next(batches))
    jax.block_until_ready(terms)
    began, count = time.perf_counter(), 0
    while count < 2 or (time.perf_counter() - began < seconds and count < 100):
        state, terms = advance(state, next(batches))
        jax.block_until_ready(terms)
        count += 1
    return (time.perf_counter() - began) / count
