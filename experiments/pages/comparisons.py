"""Read the files of a comparison (experiments/comparison): verdict, runs, plan and health."""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aeseg import files
from aeseg.data.files import is_inside
from aeseg.types import UserError

from ..study.significance import interval


@dataclasses.dataclass(frozen=True)
class ComparisonPage:
    """Contents of a comparison's page.  `verdict` is {} until the comparison has one."""

    name: str
    path: str
    runs: Sequence[Mapping[str, Any]]
    verdict: Mapping[str, Any]
    plan: Mapping[str, Any]
    health: Sequence[Mapping[str, Any]]

    @property
    def arms(self) -> tuple[str, ...]:
        """Return the arms with a run, scratch first."""
        names = dict.fromkeys(str(run["arm"]) for run in self.runs)
        scratch = {str(run["arm"]) for run in self.runs if not run.get("against")}
        return tuple(sorted(names, key=lambda name: name not in scratch))


def is_comparison(path: str) -> bool:
    """Return whether a folder is a comparison's."""
    return os.path.isfile(os.path.join(path, "results.jsonl")) or os.path.isfile(os.path.join(path, "verdict.json"))


def gather(path: str) -> ComparisonPage:
    """Read a comparison's files; raise UserError if it has no scored run."""
    runs = [line for line in files.json_objects(os.path.join(path, "results.jsonl"))[0] if _is_run(line)]
    if not runs:
        raise UserError(f"Expected a scored run in {path}; got none. Continue the comparison with the same command, then write the report.")
    verdict, plan = (files.json_object(os.path.join(path, name)) for name in ("verdict.json", "plan.json"))
    health = files.json_objects(os.path.join(path, "health.jsonl"))[0]
    return ComparisonPage(os.path.basename(os.path.abspath(path)), path, runs, verdict, plan, health)


def winner(page: ComparisonPage) -> str:
    """Return the winner's workdir if it is inside the comparison and has checkpoints, else ""."""
    named = page.verdict.get("winner")
    path = os.path.join(page.path, str(named.get("workdir", ""))) if isinstance(named, Mapping) else page.path
    complete = os.path.isfile(os.path.join(path, "config.json")) and os.path.isdir(os.path.join(path, "checkpoints"))
    return path if complete and is_inside(path, page.path) else ""


def by_labels(page: ComparisonPage, arm: str) -> list[tuple[int, float, float, float, int]]:
    """Return (labels, mean, low, high, seeds) of an arm's test mIoU; low to high is the 95 % interval, or the mean itself with one seed."""
    values: dict[int, list[float]] = {}
    for run in page.runs:
        if run["arm"] == arm:
            values.setdefault(int(run["labels"]), []).append(float(run["metrics"]["miou"]))
    rows = []
    for labels, scores in sorted(values.items()):
        mean, half = interval(scores)
        half = 0.0 if math.isnan(half) else half
        rows.append((labels, mean, mean - half, mean + half, len(scores)))
    return rows


def class_iou(page: ComparisonPage, arm: str, labels: int) -> dict[str, float]:
    """Return each class's mean IoU over an arm's seeds with `labels` labels; classes that never occur are left out."""
    values: dict[str, list[float]] = {}
    for run in page.runs:
        if run["arm"] == arm and int(run["labels"]) == labels:
            for name, iou in run["metrics"].get("iou", {}).items():
                if iou is not None:
                    values.setdefault(str(name), []).append(float(iou))
    return {name: float(np.mean(each)) for name, each in values.items()}


def _is_run(line: Mapping[str, Any]) -> bool:
    scores = line.get("metrics")
    return {"arm", "labels", "seed"} <= set(line) and isinstance(scores, Mapping) and isinstance(scores.get("miou"), int | float)
