"""From built parts to a finished run: what `pretrain` and `segment` share.  They differ only by the Method and its evaluation."""

import os
import resource
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from aeseg import tree
from aeseg.data import loader as loaders
from aeseg.data import wrappers
from aeseg.data.transforms import CenterCrop
from aeseg.inference import draw
from aeseg.inference import evaluate as evaluation
from aeseg.spec import build
from aeseg.training import checkpoints as saved
from aeseg.training import loop, step
from aeseg.training import mesh as meshes
from aeseg.training.log import Log
from aeseg.training.state import TrainState
from experiments import assembly, cli
from experiments.assembly import Job

PICTURES = 6
"""Rows of the pictures that a run leaves."""

Evaluate = Callable[[TrainState], dict[str, float]]

Init = Callable[[TrainState], tuple[TrainState, list[str]]]
"""A fresh state with pretrained weights in it, and what to say of that."""


def train(job: Job, workdir: str, numbers_of: Evaluate, init: Init | None = None, next_command: str = "") -> dict[str, float]:
    """Train, or go on, or say that all is done; returns the numbers of the validation set.

    resume own workdir > `init` (pretrained weights) > scratch.
    """
    config, began = job.config, time.perf_counter()
    writes = jax.process_index() == 0
    cli.claim(workdir, config, writes)
    smaller = config.best not in assembly.LARGER_IS_BETTER
    kept = saved.Checkpoints(os.path.join(workdir, "checkpoints"), config.keep, config.best, config.keep_every, smaller)
    pictures = Pictures(job, workdir)
    run = loop.Run(
        method=job.method,
        optimiser=build(config.optimiser),
        mesh=job.mesh,
        batches=job.loader.batches,
        evaluate=numbers_of,
        picture=pictures.write,
        **{name: config[name] for name in ("steps", "microbatches", "seed", "ema", "log_every", "evaluate_every", "save_every")},
    )
    state = loop.initial_state(run, job.loader[0])
    log = Log(workdir, config.steps, max([s for s in kept.steps() if s <= config.steps], default=0), writes)
    try:
        resumed = kept.restore(state, log.say)
        if resumed is not None:
            state = resumed
            log.say(f"Going on from step {int(state.step)} of {workdir}.")
        elif init is not None:
            state, lines = init(state)
            for line in lines:
                log.say(line)
        log.say(describe(job, state))
        if int(state.step) >= config.steps:
            log.say("This run is finished; nothing is trained.")
            numbers = run.evaluate(state)
            finished = True
        else:
            outcome = loop.train(run, state, kept, log)
            state, numbers, finished = outcome.state, outcome.numbers, outcome.finished
    finally:
        kept.close()
        log.close()
    if writes:
        report(job, workdir, int(state.step), numbers, finished, time.perf_counter() - began, pictures.last, next_command)
    return numbers


def score_method(job: Job) -> Evaluate:
    """The evaluation of an autoencoder: every Mean over the validation set, divided once, without random keys."""
    means = on_local_devices(lambda variables, batch: dict(job.method.apply(variables, step.prepare(batch), train=False)))

    def numbers(state: TrainState) -> dict[str, float]:
        variables = host_copy(state.variables)
        found = evaluation.autoencoder(
            lambda batch: means(variables, batch),
            evaluation_batches(job),
            job.method.coefficients,
            summary=getattr(job.method, "summary", dict),
        )
        return {name: value for name, value in found.items() if name != "images"}

    return numbers


def score_segmentation(job: Job) -> Evaluate:
    """The evaluation of a segmenter: scores from one confusion matrix over the validation set."""
    predict = on_local_devices(lambda variables, batch: job.method.apply(variables, step.prepare(batch)["image"], method="predict"))

    def numbers(state: TrainState) -> dict[str, float]:
        variables = host_copy(state.variables)
        found = evaluation.segmentation(
            lambda image: np.asarray(predict(variables, {"image": image})),
            job.validation,
            job.transforms,
            tuple(job.config.window),
            [name for name, _ in job.classes],
            batch=job.config.batch_size // jax.process_count(),
            threads=job.config.data.threads,
        )
        return {name: found[name] for name in assembly.SCORES}

    return numbers


def on_local_devices(function: Callable[[Any, Any], Any]) -> Callable[[Any, Mapping[str, np.ndarray]], Any]:
    """`function(variables, batch)` compiled for the devices of this process, the rows spread over them where they divide."""
    jitted = jax.jit(function)

    def call(variables: Any, batch: Mapping[str, np.ndarray]) -> Any:
        devices = jax.local_devices()
        if len(batch["image"]) % len(devices):
            devices = devices[:1]
        mesh = meshes.create(devices=devices)
        rows = jax.sharding.NamedSharding(mesh, meshes.ROWS)
        return jitted(jax.device_put(variables, meshes.replicated(mesh)), jax.device_put(dict(batch), rows))

    return call


def host_copy(variables: Any) -> Any:
    """Variables that this process alone can use, wherever their parts live."""
    if jax.process_count() == 1:
        return variables
    return multihost_utils.process_allgather(variables, tiled=True)


def evaluation_batches(job: Job) -> Any:
    """One pass over the validation set in this process's padded batches of windows."""
    return windows(job.config, job.validation, job.config.batch_size)


def windows(config: ConfigDict, records: Any, batch_size: int) -> Any:
    """One pass over a source, each record cut to the middle window of the size that the network is trained at.

    Batches need one size, and an encoder one that its stride divides; segmenters are scored on whole images instead.
    """
    transforms = (*build(config.data.evaluation_transforms), CenterCrop(*config.window))
    return loaders.evaluation_batches(records, transforms, batch_size, jax.process_index(), jax.process_count())


class Pictures:
    """Leaves `pictures/step_<n>.png` of the same few validation images each time."""

    def __init__(self, job: Job, workdir: str):
        self._job, self._folder, self.last = job, os.path.join(workdir, "pictures"), ""
        self._show = on_local_devices(lambda variables, batch: job.method.apply(variables, step.prepare(batch), method="show"))

    def write(self, state: TrainState) -> None:
        """Draw what the method shows of the first validation images."""
        batch = next(iter(evaluation_batches(self._job)))
        shown = self._show(host_copy(state.variables), batch)
        rows = min(PICTURES, len(self._job.validation))
        columns = {name: np.asarray(jax.device_get(array))[:rows] for name, array in shown.items()}
        if jax.process_index() == 0:
            self.last = os.path.join(self._folder, f"step_{int(state.step):06d}.png")
            names = [str(self._job.validation[row].get("name", row)) for row in range(rows)]
            draw.panel(columns, self.last, self._job.classes, names)


def describe(job: Job, state: TrainState) -> str:
    """One line: what is trained, on what, where."""
    device = job.mesh.devices.flat[0]
    return (
        f"{type(job.method).__name__}: {tree.count(state.params):,} parameters; {len(job.train):,} training and "
        f"{len(job.validation):,} validation images; batch {job.config.batch_size}; {job.mesh.size} x {device.device_kind}."
        + (f" {job.train.text}" if isinstance(job.train, wrappers.Cached) else "")
    )


def report(
    job: Job, workdir: str, at: int, numbers: Mapping[str, float], finished: bool, seconds: float, picture: str, next_command: str
) -> None:
    """What every run prints last: the numbers, the seconds, where the pictures are, the next command."""
    for split, skipped in (("training", getattr(job.train, "skipped", ())), ("validation", getattr(job.validation, "skipped", ()))):
        if skipped:
            print(f"Skipped {len(skipped)} unreadable {split} records: {' '.join(sorted(skipped)[:3])}{' ...' if len(skipped) > 3 else ''}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    state = "Finished" if finished else "Stopped"
    print(f"\n{state} at step {at} of {job.config.steps} after {seconds:.0f} s, {peak:.1f} GB of memory at most.")
    print("validation  " + "  ".join(f"{name} {value:.4f}" for name, value in numbers.items()))
    print(f"pictures    {picture or os.path.join(workdir, 'pictures')}")
    print(f"next        {next_command if finished else 'the same command goes on from here'}", flush=True)
