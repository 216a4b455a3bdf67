"""Tasks of a comparison: pretrain an arm, try a learning rate on validation, score a run on the test images.  Skips finished tasks."""

import os
import shutil
import time
from typing import Any

from ml_collections import ConfigDict

from aeseg.runs import init, scores
from aeseg.runs.run import Run
from aeseg.runs.train import Init
from aeseg.training import checkpoints as saved
from aeseg.training.stored import saved_steps
from aeseg.types import UserError

from . import health, training
from .arms import Arm
from .data import Spread
from .plan import TRIALS, pretraining_seconds, run_seconds, run_steps, trial_seconds
from .training import TUNING_SEED
from .verdict import labelled
from .work import Work


def pretrain(work: Work, arm: Arm) -> None:
    """Pretrain an arm's encoder, and check its health."""
    path, needed = work.workdir(arm, "pretraining"), pretraining_seconds(work.plan, work.costs, arm.part)
    steps = work.plan.pretraining
    if saved_steps(os.path.join(path, "checkpoints"))[-1:] == [steps] and work.pretraining_seconds(arm):
        work.clock.skip(needed)
        return
    work.clock.check(needed)
    config, run = training.pretraining(work, arm, steps)
    start = init.weights(config, {}, arm.public, "what fits") if arm.public else None
    before = {line["step"]: line for line in work.lines("health") if line["arm"] == arm.name}
    check = health.checker(run.method.encoder, _labelled_windows(work), len(work.images.classes))  # type: ignore[attr-defined]
    untrained = _untrained_health(work, arm, check, start, run) if 0 not in before else health.Health(before[0]["probe"], before[0]["rank"])

    def evaluate(state: Any) -> dict[str, float]:
        step, now = int(state.step), check(state)
        work.write("health", {"arm": arm.name, "step": step, **now._asdict()})
        if (text := health.warning(arm.name, step, now, untrained)) and not work.is_warned(arm.name):
            work.warn(text)
        return {"probe_mean_iou": now.probe, "effective_rank": now.rank}

    with work.clock.task(f"{arm.name}: pretraining", needed / steps):
        outcome = training.trained(work, run, path, start, evaluate)
        work.write("pretraining", {"arm": arm.name, "steps": steps, "seconds": round(outcome.seconds, 2), **work.provenance})


def trial(work: Work, arm: Arm, number: int) -> None:
    """Train an arm on the tuning seed's labels with the learning rate and length of a trial, and score it on validation."""
    needed, (factor, length) = trial_seconds(work.plan, work.costs, arm.part, number), TRIALS[number]
    if any((line["arm"], line["trial"]) == (arm.name, number) for line in work.lines("trials")):
        work.clock.skip(needed)
        return
    work.clock.check(needed)
    steps, rate, path = max(1, round(length * work.plan.steps)), factor * arm.rate, work.workdir(arm, f"trial-{number}")
    config = training.segmentation(work, arm, steps, rate, work.plan.tuned, TUNING_SEED)
    run, start = training.segmenter(work, arm, config)
    with work.clock.task(f"{arm.name}: trial {number + 1} of {work.plan.trials}", needed / steps):
        outcome = training.trained(work, run, path, start)
        line = {"arm": arm.name, "trial": number, "learning_rate": rate, "length": length, "steps": steps}
        line |= {"validation_miou": outcome.numbers["mean_iou"], "seconds": round(outcome.seconds, 2)}
        work.write("trials", {**line, **work.provenance})
    shutil.rmtree(path)


def score(work: Work, arm: Arm, labels: int, seed: int) -> None:
    """Train an arm with the learning rate and length of its best trial, and score it once on the test images."""
    needed = run_seconds(work.plan, work.costs, arm.part)
    if any((line["arm"], line["labels"], line["seed"]) == (arm.name, labels, seed) for line in work.lines("results")):
        work.clock.skip(needed)
        return
    work.clock.check(needed)
    best = best_trial(work, arm)
    longer = run_steps(work.plan, work.costs, arm.part) - work.plan.steps
    steps, path = best["steps"] + longer, work.workdir(arm, f"{labels}-{seed}")
    config = training.segmentation(work, arm, steps, best["learning_rate"], labels, seed)
    run, start = training.segmenter(work, arm, config)
    with work.clock.task(f"{arm.name}: {labelled(labels)}, seed {seed}", needed / steps):
        outcome = training.trained(work, run, path, start)
        began = time.perf_counter()
        variables = saved.load_variables(os.path.join(path, "checkpoints"))[1]
        tested = scores.segmentation(run, training.predictor(work, run, variables), work.test, batch=work.batch)
        pretrained = os.path.relpath(work.workdir(arm, "pretraining"), work.folder) if arm.pretraining else arm.public
        line: dict[str, Any] = {
            "arm": arm.name,
            "encoder": arm.encoder,
            "method": arm.method,
            "init": pretrained,
            "against": arm.against,
        }
        line |= {"labels": labels, "seed": seed, "steps": steps, "learning_rate": best["learning_rate"]}
        line |= {"metrics": {"miou": tested["mean_iou"], "iou": {each["name"]: each["iou"] for each in tested["per_class"]}}}
        line["metrics"]["pixel_accuracy"] = tested["pixel_accuracy"]
        line |= {"validation_miou": outcome.numbers["mean_iou"], "images": tested["images"]}
        line |= {"seconds": round(outcome.seconds + time.perf_counter() - began, 2)}
        line |= {"pretraining_seconds": work.pretraining_seconds(arm), **_standardised(config), **work.provenance}
        work.write("results", {**line, "workdir": os.path.relpath(path, work.folder)})
    if labels != work.plan.labels[-1]:
        shutil.rmtree(os.path.join(path, "checkpoints"))


def best_trial(work: Work, arm: Arm) -> dict[str, Any]:
    """Return the line of an arm's best trial on validation; a longer scratch uses the trials of its scratch."""
    name = arm.against if arm.method == "longer" else arm.name
    trials = [line for line in work.lines("trials") if line["arm"] == name and line["trial"] < work.plan.trials]
    if not trials:
        raise UserError(f"no trial of {name} has a value")
    return max(trials, key=lambda line: line["validation_miou"])


def _untrained_health(work: Work, arm: Arm, check: Any, start: Init | None, run: Run) -> health.Health:
    """Check a pretraining before its first step."""
    state = work.programs.initial(run)
    untrained: health.Health = check(start(state)[0] if start else state)
    work.write("health", {"arm": arm.name, "step": 0, **untrained._asdict()})
    return untrained


def _labelled_windows(work: Work) -> list[Any]:
    """Return batches of labelled windows of training images, for the probe."""
    config = training.segmentation(work, next(iter(work.arms.values())), 1, 1e-3, len(work.images.train), TUNING_SEED)
    run = training.run_of(config, work.images.train, work.validation)
    few = Spread(work.images.train, health.WINDOWS)
    return list(scores.windows(run, few, min(work.batch, len(few))))


def _standardised(config: ConfigDict) -> dict[str, Any]:
    encoder = config.method.encoder
    return {name: list(encoder[name]) for name in ("mean", "std") if name in encoder}
