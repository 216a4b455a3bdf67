"""Files that a comparison derives from its lines: CSV, tables, plot, pictures, verdict and winner."""

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from aeseg import files, spec
from aeseg.inference import draw
from aeseg.inference.sliding import sliding
from aeseg.runs import workdir
from aeseg.training import checkpoints as saved
from aeseg.types import IGNORE, UserError

from ..recorded.rows import Row
from ..study import formats, plot, summary
from . import training
from . import verdict as verdicts
from .data import Spread
from .work import Work

PICTURES = 6
"""Number of test images in the picture."""
SHOWN = 24
"""Number of test images from which the worst are chosen."""


def write(work: Work, commands: Mapping[str, str], following: str) -> dict[str, Any]:
    """Write all files of a comparison from its lines; return the verdict.

    commands    commands by purpose, with {winner} in place of the winner's workdir and {config} of its config
    following   command to try if nothing gains
    """
    lines = work.lines("results")
    if not lines:
        raise UserError("Expected at least one finished run; got none. Set --minutes higher; the same command continues.")
    paper, verdict = table(lines, len(work.images.train)), verdicts.verdict(lines, work.warnings)
    rows = summary.lines(paper, measured(lines), {})
    text(work.folder, "results.csv", comma_separated(lines))
    text(work.folder, "table.md", formats.markdown(paper, paper.METRICS, rows) + "\n")
    text(work.folder, "table.tex", formats.latex(paper, paper.METRICS, rows) + "\n")
    best = winner(verdict, lines)
    path = os.path.join(work.folder, best["workdir"]) if best else ""
    names = {"winner": path, "config": os.path.join(work.folder, "winner.json")}
    verdict |= {"winner": best, "next": following, "commands": {name: each.format(**names) for name, each in commands.items() if best}}
    text(work.folder, "verdict.json", json.dumps(verdict, indent=1) + "\n")
    if best:
        config = workdir.stored_config(path)
        with config.unlocked():
            config.transfer = "continue"
        text(work.folder, "winner.json", spec.to_json(config))
        pictures(work, best, lines)
    try:
        plot.write(os.path.join(work.folder, "plot.png"), paper, measured(lines), len(work.images.train))
    except UserError as error:  # matplotlib is an extra
        work.clock.bar.say(str(error))
    return verdict


def text(folder: str, name: str, contents: str) -> None:
    """Write a file of the comparison."""
    files.write(os.path.join(folder, name), contents)


def comma_separated(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return a row per run, with scores in fractions of 1 and a column for the IoU of each class."""
    classes = list(dict.fromkeys(name for line in lines for name in line["metrics"]["iou"]))
    leading = [name for name in ("arm", "encoder", "method", "against", "labels", "seed", "steps", "learning_rate") if name in lines[0]]
    trailing = ["validation_miou", "images", "seconds", "pretraining_seconds", "device", "commit", "workdir"]
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow([*leading, "miou", *(f"iou_{name}" for name in classes), *trailing])
    for line in lines:
        iou = [line["metrics"]["iou"].get(name) for name in classes]
        scores = ["" if value is None else f"{value:.6f}" for value in (line["metrics"]["miou"], *iou)]
        table.writerow([*(line[name] for name in leading), *scores, *(line.get(name, "") for name in trailing)])
    return written.getvalue()


def winner(verdict: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the run to use: the best on validation, with the most labels, of the arms that gain, or of scratch if no arm gains.

    Test scores only decide which arms gain; validation chooses among these arms and their seeds.
    """
    gaining = {arm["arm"] for arm in verdict["arms"] if arm["overall"]["verdict"] == "gains"}
    most = max(line["labels"] for line in lines)
    candidates = [line for line in lines if line["labels"] == most and (line["arm"] in gaining if gaining else not line["against"])]
    if not candidates:
        return None
    validated: dict[str, list[float]] = {}
    for line in candidates:
        validated.setdefault(line["arm"], []).append(line["validation_miou"])
    arm = max(sorted(validated), key=lambda name: np.mean(validated[name]))
    best = max((line for line in candidates if line["arm"] == arm), key=lambda line: line["validation_miou"])
    return {**{name: best[name] for name in ("arm", "labels", "seed", "workdir")}, "config": "winner.json"}


def table(lines: Sequence[Mapping[str, Any]], images: int) -> SimpleNamespace:
    """Return the comparison as a table of experiments/study: a row per arm and number of labels, compared with the row of its scratch."""
    order = dict.fromkeys((line["arm"], line["labels"]) for line in sorted(lines, key=lambda line: line["labels"]))
    first = {(line["arm"], line["labels"]): line for line in lines}
    rows = []
    for arm, labels in order:
        line = first[arm, labels]
        compare = _row(line["against"], labels) if line["against"] else ""
        rows.append(Row(_row(arm, labels), "segment", arm, {"data.fraction": labels / images}, line["init"], compare))
    title, seeds = f"Comparison, {images} labelled images at most", len({line["seed"] for line in lines})
    return SimpleNamespace(TITLE=title, METRICS=("mean_iou",), ROWS=tuple(rows), SEEDS=seeds, NOTE="")


def measured(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the lines in the format of experiments/study."""
    common = ("seed", "seconds", "device", "commit")
    return [
        {
            "row": _row(line["arm"], line["labels"]),
            "numbers": {"mean_iou": line["metrics"]["miou"]},
            **{name: line[name] for name in common},
        }
        for line in lines
    ]


def pictures(work: Work, best: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> None:
    """Draw the test images that the winner predicts worst, of SHOWN images, beside the predictions of its scratch."""
    same = [line for line in lines if (line["labels"], line["seed"]) == (best["labels"], best["seed"])]
    against = next(line["against"] for line in same if line["arm"] == best["arm"])
    shown = [line for line in same if line["arm"] in (against, best["arm"])]
    shown.sort(key=lambda line: line["arm"] == best["arm"])
    source = Spread(work.test, SHOWN)
    records = [source[index] for index in range(len(source))]
    columns: dict[str, list[np.ndarray]] = {name: [record[name] for record in records] for name in ("image", "label")}
    for line in shown:
        columns[line["arm"]] = _predicted(work, os.path.join(work.folder, line["workdir"]), columns["image"])
    accuracies = [_accuracy(*pair) for pair in zip(columns[best["arm"]], columns["label"], strict=True)]
    worst = np.argsort(accuracies, kind="stable")[:PICTURES]
    names = [f"{records[index].get('name', index)}   {accuracies[index]:.1%} of its pixels right" for index in worst]
    columns = {name: [column[index] for index in worst] for name, column in columns.items()}
    path = os.path.join(work.folder, "pictures", "worst.png")
    draw.panel(columns, path, work.images.classes, names, f"{best['arm']}, worst of {len(records)} test images", ("label", best["arm"]))


def _accuracy(prediction: np.ndarray, label: np.ndarray) -> float:
    """Return the fraction of labelled pixels that are predicted correctly; 1 without labelled pixels."""
    labelled: np.ndarray = label != IGNORE
    return float(np.mean((prediction == label)[labelled])) if labelled.any() else 1.0


def _predicted(work: Work, path: str, images: Sequence[np.ndarray]) -> list[np.ndarray]:
    run = spec.build_run(workdir.stored_config(path))
    predict = training.predictor(work, run, saved.load_variables(os.path.join(path, "checkpoints"))[1])
    return [np.argmax(logits, axis=-1).astype(np.int32) for logits in sliding(predict, images, tuple(run.window), batch=work.batch)]


def _row(arm: str, labels: int) -> str:
    return f"{arm}, {verdicts.labelled(labels)}"
