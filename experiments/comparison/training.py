"""Training of a comparison: build a run on the shared records, train it until its end or the deadline, predict with it."""

import contextlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from aeseg import spec
from aeseg.runs import init, scores, transfer
from aeseg.runs.run import Run
from aeseg.runs.train import Init, Outcome, train
from aeseg.training import signals

from . import settings
from .arms import Arm
from .clock import OutOfTimeError
from .data import Spread
from .work import Work

TUNING_SEED = 0
"""Seed of the trials.  Scored runs have seeds from 1 on, so the trials do not select on the labelled images of scored runs."""


def segmentation(work: Work, arm: Arm, steps: int, rate: float, labels: int, seed: int) -> ConfigDict:
    """Return the config of a segmentation."""
    return settings.segmentation(work.images, arm, work.window, work.batch, steps, rate, labels, seed)


def pretraining(work: Work, arm: Arm, steps: int) -> tuple[ConfigDict, Run]:
    """Return the config and the run of an arm's pretraining."""
    config = settings.pretraining(work.images, arm, work.window, work.batch, steps)
    return config, run_of(config, work.images.unlabelled, Spread(work.images.unlabelled, work.batch))


def segmenter(work: Work, arm: Arm, config: ConfigDict) -> tuple[Run, Init | None]:
    """Return the run of a segmentation's config, and a function that loads the arm's weights; the config gets their encoder."""
    path = work.workdir(arm, "pretraining") if arm.pretraining else arm.public
    start = transfer.chosen(config, init.weights(config, {}, path, "encoder") if path else None)
    labels = round(config.data.fraction * len(work.images.train))
    return run_of(config, work.images.labelled(labels, config.seed), work.validation), start


def run_of(config: ConfigDict, training: Any, validation: Any) -> Run:
    """Return the run of a config on the given records."""
    run: Run = spec.build(config)
    return run.with_records(training, validation)


def trained(work: Work, run: Run, path: str, start: Init | None, evaluate: scores.Evaluate | None = None) -> Outcome:
    """Train a run until its end or the deadline, with its messages in compare.log; the outcome has the seconds of all calls.

    Raises OutOfTimeError at the deadline; the run is saved, and the next call continues it.  Raises Stopped after a signal.
    """
    with open(os.path.join(work.folder, "compare.log"), "a", encoding="utf-8") as log, contextlib.redirect_stderr(log):
        print(f"--- {path}", file=log)
        outcome = train(run, path, start, work.programs, evaluate, work.clock.minutes)
    if not outcome.finished:
        work.write("unfinished", {"workdir": os.path.relpath(path, work.folder), "seconds": round(outcome.seconds, 2)})
        raise signals.Stopped(outcome.signal) if outcome.signal else OutOfTimeError
    before = [line["seconds"] for line in work.lines("unfinished") if line["workdir"] == os.path.relpath(path, work.folder)]
    return outcome._replace(seconds=outcome.seconds + sum(before))


def predictor(work: Work, run: Run, variables: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from images to logits."""
    compiled, placed = work.programs.forward(run), scores.on_every_device(variables)
    return lambda image: np.asarray(compiled(placed, {"image": image}))
