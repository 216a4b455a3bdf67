"""Runs of a comparison: one process trains each run in its own workdir and appends its line."""

import contextlib
import dataclasses
import functools
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from aeseg import jsonlines, spec
from aeseg.runs import init, scores, transfer
from aeseg.runs.programs import Programs
from aeseg.runs.run import Run
from aeseg.runs.train import Init, Outcome, train
from aeseg.training import checkpoints as saved
from aeseg.training import signals
from aeseg.training.stored import saved_steps
from aeseg.types import UserError

from ..machine import copies
from . import health, settings
from .arms import Arm
from .clock import Clock, OutOfTimeError
from .data import Images, Spread
from .plan import TRIALS, Costs, Plan, pretraining_seconds, run_seconds, run_steps, trial_seconds
from .verdict import labelled

TUNING_SEED = 0
"""Seed of the trials.  Scored runs have seeds from 1 on, so the trials do not select on the labelled images of scored runs."""


@dataclasses.dataclass
class Work:
    """State shared by all runs.

    folder    folder of the comparison
    window, batch   window and batch size of every run
    provenance   device, commit and versions, added to every line
    shared    other processes share this work
    most_seeds   requested seeds; the plan may have fewer
    """

    folder: str
    images: Images
    arms: dict[str, Arm]
    plan: Plan
    costs: Costs
    window: tuple[int, int]
    batch: int
    clock: Clock
    provenance: dict[str, Any]
    shared: bool = False
    most_seeds: int = 0
    programs: Programs = dataclasses.field(default_factory=Programs)
    warnings: list[str] = dataclasses.field(default_factory=list)
    failed: set[str] = dataclasses.field(default_factory=set)

    def __post_init__(self) -> None:
        self.programs.seen = self.clock.stepped
        self.validation = Spread(self.images.validation, self.plan.validation)
        self.test = Spread(self.images.test, self.plan.test)

    def all(self) -> None:
        """Run the missing pretrainings and trials arm by arm, then the missing runs seed by seed; stop in time.

        Minutes that the plan leaves go to further seeds, up to `most_seeds`: a seed begins if all its runs fit.
        """
        with contextlib.suppress(OutOfTimeError):
            for stage in self._stages():
                self._run(stage)
            for seed in range(self.plan.seeds + 1, self.most_seeds + 1):
                if not self.clock.fits(self._seed_seconds()):
                    return
                self.plan = self.plan._replace(seeds=seed)
                self._run(self._seed(seed))
            return
        runs = {(line["arm"], line["labels"], line["seed"]) for line in self.lines("results")}
        missing = len(self.plan.arms) * len(self.plan.labels) * self.plan.seeds - len(runs)
        self.warn(f"The minutes are over; {missing} runs are missing. The same command continues.")

    def _run(self, stage: Iterable[tuple[Arm, str, Callable[[], None]]]) -> None:
        tasks = ((f"{self._workdir(arm, name)}.lock", functools.partial(self._guarded, arm.name, task)) for arm, name, task in stage)
        copies.each(tasks, self.shared)

    def _seed_seconds(self) -> float:
        """Return the seconds of the first seed's runs, with a tenth added."""
        return 1.1 * sum(line["seconds"] for line in self.lines("results") if line["seed"] == 1)

    def _stages(self) -> Iterator[Iterator[tuple[Arm, str, Callable[[], None]]]]:
        """Yield stages of (arm, name of its workdir, task); a stage needs the results of those before it."""
        arms = {part: self.arms[part.name] for part in self.plan.arms}
        yield ((arm, "pretraining", functools.partial(self.pretrain, arm)) for part, arm in arms.items() if part.trained)
        yield (
            (arm, f"trial-{number}", functools.partial(self.trial, arm, number))
            for part, arm in arms.items()
            for number in range(0 if part.longer else self.plan.trials)
        )
        yield from (self._seed(seed) for seed in range(1, self.plan.seeds + 1))

    def _seed(self, seed: int) -> Iterator[tuple[Arm, str, Callable[[], None]]]:
        """Yield (arm, name of its workdir, task) of each run of a seed."""
        for labels in reversed(self.plan.labels):
            for part in self.plan.arms:
                arm = self.arms[part.name]
                yield arm, f"{labels}-{seed}", functools.partial(self.score, arm, labels, seed)

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Return the lines of one of the comparison's files."""
        return jsonlines.read(os.path.join(self.folder, f"{name}.jsonl"))

    def warn(self, text: str) -> None:
        """Print a warning, and keep it for the verdict."""
        if text not in self.warnings:
            self.warnings.append(text)
            self.clock.bar.say(f"! {text}")

    def is_warned(self, arm: str) -> bool:
        """Return whether an arm's pretraining has a warning."""
        return any(text.startswith(f"{arm}:") for text in self.warnings)

    def pretrain(self, arm: Arm) -> None:
        """Pretrain an arm's encoder, and check its health."""
        path, needed = self._workdir(arm, "pretraining"), pretraining_seconds(self.plan, self.costs, arm.part)
        steps = self.plan.pretraining
        if saved_steps(os.path.join(path, "checkpoints"))[-1:] == [steps] and self._pretraining_seconds(arm):
            self.clock.advance(needed)
            return
        self.clock.check(needed)
        config = settings.pretraining(self.images, arm, self.window, self.batch, steps)
        start = init.weights(config, {}, arm.public, "what fits") if arm.public else None
        run = self.run_of(config, self.images.unlabelled, Spread(self.images.unlabelled, self.batch))
        before = {line["step"]: line for line in self.lines("health") if line["arm"] == arm.name}
        check = health.checker(run.method.encoder, self._labelled(), len(self.images.classes))
        untrained = self._health(arm, check, start, run) if 0 not in before else health.Health(before[0]["probe"], before[0]["rank"])

        def evaluate(state: Any) -> dict[str, float]:
            step, now = int(state.step), check(state)
            self._write("health", {"arm": arm.name, "step": step, **now._asdict()})
            if (text := health.warning(arm.name, step, now, untrained)) and not self.is_warned(arm.name):
                self.warn(text)
            return {"probe_mean_iou": now.probe, "effective_rank": now.rank}

        with self.clock.task(f"{arm.name}: pretraining", needed / steps):
            outcome = self.trained(run, path, start, evaluate)
            self._write("pretraining", {"arm": arm.name, "steps": steps, "seconds": round(outcome.seconds, 2), **self.provenance})

    def trial(self, arm: Arm, number: int) -> None:
        """Train an arm on the tuning seed's labels with the learning rate and length of a trial, and score it on validation."""
        needed, (factor, length) = trial_seconds(self.plan, self.costs, arm.part, number), TRIALS[number]
        if any((line["arm"], line["trial"]) == (arm.name, number) for line in self.lines("trials")):
            self.clock.advance(needed)
            return
        self.clock.check(needed)
        steps, rate, path = max(1, round(length * self.plan.steps)), factor * arm.rate, self._workdir(arm, f"trial-{number}")
        config = self.segmentation(arm, steps, rate, self.plan.tuned, TUNING_SEED)
        run, start = self.segmenter(arm, config)
        with self.clock.task(f"{arm.name}: trial {number + 1} of {self.plan.trials}", needed / steps):
            outcome = self.trained(run, path, start)
            line = {"arm": arm.name, "trial": number, "learning_rate": rate, "length": length, "steps": steps}
            line |= {"validation_miou": outcome.numbers["mean_iou"], "seconds": round(outcome.seconds, 2)}
            self._write("trials", {**line, **self.provenance})
        shutil.rmtree(path)

    def score(self, arm: Arm, labels: int, seed: int) -> None:
        """Train an arm with the learning rate and length of its best trial, and score it once on the test images."""
        needed = run_seconds(self.plan, self.costs, arm.part)
        if any((line["arm"], line["labels"], line["seed"]) == (arm.name, labels, seed) for line in self.lines("results")):
            self.clock.advance(needed)
            return
        self.clock.check(needed)
        best = self.best_trial(arm)
        longer = run_steps(self.plan, self.costs, arm.part) - self.plan.steps
        steps, path = best["steps"] + longer, self._workdir(arm, f"{labels}-{seed}")
        config = self.segmentation(arm, steps, best["learning_rate"], labels, seed)
        run, start = self.segmenter(arm, config)
        with self.clock.task(f"{arm.name}: {labelled(labels)}, seed {seed}", needed / steps):
            outcome = self.trained(run, path, start)
            began = time.perf_counter()
            variables = saved.load_variables(os.path.join(path, "checkpoints"))[1]
            tested = scores.segmentation(run, self.predictor(run, variables), self.test, batch=self.batch)
            pretrained = os.path.relpath(self._workdir(arm, "pretraining"), self.folder) if arm.pretraining else arm.public
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
            line |= {"pretraining_seconds": self._pretraining_seconds(arm), **self._standardised(config), **self.provenance}
            self._write("results", {**line, "workdir": os.path.relpath(path, self.folder)})
        if labels != self.plan.labels[-1]:
            shutil.rmtree(os.path.join(path, "checkpoints"))

    def best_trial(self, arm: Arm) -> dict[str, Any]:
        """Return the line of an arm's best trial on validation; a longer scratch uses the trials of its scratch."""
        name = arm.against if arm.method == "longer" else arm.name
        trials = [line for line in self.lines("trials") if line["arm"] == name and line["trial"] < self.plan.trials]
        if not trials:
            raise UserError(f"no trial of {name} has a value")
        return max(trials, key=lambda line: line["validation_miou"])

    def predictor(self, run: Run, variables: Any) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function from images to logits."""
        compiled, placed = self.programs.forward(run), scores.on_every_device(variables)
        return lambda image: np.asarray(compiled(placed, {"image": image}))

    def segmentation(self, arm: Arm, steps: int, rate: float, labels: int, seed: int) -> ConfigDict:
        """Return the config of a segmentation."""
        return settings.segmentation(self.images, arm, self.window, self.batch, steps, rate, labels, seed)

    def segmenter(self, arm: Arm, config: ConfigDict) -> tuple[Run, Init | None]:
        """Return the run of a segmentation's config, and a function that loads the arm's weights; the config gets their encoder."""
        path = self._workdir(arm, "pretraining") if arm.pretraining else arm.public
        start = transfer.chosen(config, init.weights(config, {}, path, "encoder") if path else None)
        labels = round(config.data.fraction * len(self.images.train))
        return self.run_of(config, self.images.labelled(labels, config.seed), self.validation), start

    def run_of(self, config: ConfigDict, training: Any, validation: Any) -> Run:
        """Return the run of a config on the given records."""
        run: Run = spec.build(config)
        return run.with_records(training, validation)

    def trained(self, run: Run, path: str, start: Init | None, evaluate: Any = None) -> Outcome:
        """Train a run until its end or the deadline, with its messages in compare.log; the outcome has the seconds of all calls.

        Raises OutOfTimeError at the deadline; the run is saved, and the next call continues it.  Raises Stopped after a signal.
        """
        with open(os.path.join(self.folder, "compare.log"), "a", encoding="utf-8") as log, contextlib.redirect_stderr(log):
            print(f"--- {path}", file=log)
            outcome = train(run, path, start, self.programs, evaluate, self.clock.minutes)
        if not outcome.finished:
            self._write("unfinished", {"workdir": os.path.relpath(path, self.folder), "seconds": round(outcome.seconds, 2)})
            raise signals.Stopped(outcome.signal) if outcome.signal else OutOfTimeError
        before = [line["seconds"] for line in self.lines("unfinished") if line["workdir"] == os.path.relpath(path, self.folder)]
        return outcome._replace(seconds=outcome.seconds + sum(before))

    def _health(self, arm: Arm, check: Any, start: Init | None, run: Run) -> health.Health:
        """Check a pretraining before its first step."""
        state = self.programs.initial(run)
        untrained: health.Health = check(start(state)[0] if start else state)
        self._write("health", {"arm": arm.name, "step": 0, **untrained._asdict()})
        return untrained

    def _labelled(self) -> list[Any]:
        """Return batches of labelled windows of training images, for the probe."""
        config = self.segmentation(next(iter(self.arms.values())), 1, 1e-3, len(self.images.train), TUNING_SEED)
        run = self.run_of(config, self.images.train, self.validation)
        few = Spread(self.images.train, health.WINDOWS)
        return list(scores.windows(run, few, min(self.batch, len(few))))

    def _standardised(self, config: ConfigDict) -> dict[str, Any]:
        encoder = config.method.encoder
        return {name: list(encoder[name]) for name in ("mean", "std") if name in encoder}

    def _pretraining_seconds(self, arm: Arm) -> float:
        lines = [line for line in self.lines("pretraining") if line["arm"] == arm.name and line["steps"] == self.plan.pretraining]
        return sum(line["seconds"] for line in lines) if arm.pretraining else 0.0

    def _workdir(self, arm: Arm, name: str) -> str:
        return os.path.join(self.folder, "arms", arm.slug, name)

    def _write(self, name: str, line: dict[str, Any]) -> None:
        jsonlines.write(os.path.join(self.folder, f"{name}.jsonl"), line)

    def _guarded(self, name: str, work: Callable[[], None]) -> None:
        """Do a part of an arm's work; a UserError ends only this arm."""
        if name in self.failed or self.arms[name].against in self.failed:
            return
        try:
            work()
        except UserError as error:
            self.failed.add(name)
            self.warn(f"{name}: failed. {' '.join(str(error).split())}")
