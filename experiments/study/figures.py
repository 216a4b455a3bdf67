"""Pictures of a table from the runs of one seed: correct and wrong pixels of segmenters, and reconstructions of autoencoders."""

import collections
import itertools
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from aeseg import metrics
from aeseg.inference import draw
from aeseg.inference import evaluate as evaluation
from aeseg.runs import conditions
from aeseg.runs import scores as scoring
from aeseg.runs import workdir as workdirs
from aeseg.types import IGNORE, UserError

from ..console.progress import Progress
from ..recorded import measurements
from ..recorded.rows import seeds_of
from . import training

EACH = 2
"""Number of the best and of the worst images to draw, unless the table sets EACH."""
BESIDE = 2
"""Up to this many networks, errors are drawn beside each prediction; with more, below it."""
SHOWN = 3
"""Number of records in a picture of reconstructions, spread over the split."""


class Predicted(NamedTuple):
    """An image of a split, its label and name, a network's prediction, and its mean IoU over the classes in the image.

    planes   aligned modalities that the network reads, by name
    """

    image: np.ndarray
    planes: dict[str, np.ndarray]
    label: np.ndarray
    name: str
    prediction: np.ndarray
    score: float


def write(table: str, paper: Any, runs: str) -> list[str]:
    """Draw the rows in the table's PICTURE and RECONSTRUCTIONS into the results' pictures; return their paths."""
    _check(table, paper)
    paths = [predictions(table, paper, runs)] if paper.PICTURE else []
    if hasattr(paper, "RECONSTRUCTIONS"):
        paths.append(reconstructions(table, paper, runs))
    return paths


def _check(table: str, paper: Any) -> None:
    """Raise UserError if the table has no PICTURE, or its rows are not of this scale."""
    if not hasattr(paper, "PICTURE"):
        raise UserError(
            f"Expected rows to draw in PICTURE; {table} has no PICTURE. "
            f"Add PICTURE to experiments/papers/{table}.py, or draw its numbers with --plot."
        )
    names = {row.name for row in paper.ROWS}
    drawn = {**getattr(paper, "RECONSTRUCTIONS", {}), **paper.PICTURE}
    if gone := [name for name in dict.fromkeys(drawn.values()) if name not in names]:
        raise UserError(
            f"Expected the rows that {table} draws to have this scale; got {'; '.join(gone)}, of another scale. "
            "Set their --scale, or draw this scale's numbers with --plot."
        )


def predictions(table: str, paper: Any, runs: str) -> str:
    """Draw the best and the worst images of the split, each with its modalities, label, predictions and errors of the PICTURE rows.

    The best image has the highest mean IoU over its classes, averaged over the PICTURE rows.  A table scored by light draws the best
    and the worst of the lit and of the dark images.  Returns the picture's path.
    """
    rows = {row.name: row for row in paper.ROWS}
    by_title, classes = {}, ()
    for title, folder in _workdirs(table, paper, runs, paper.PICTURE).items():
        trained = workdirs.load_trained(folder, workdirs.best_step(folder) if rows[paper.PICTURE[title]].best else -1)
        by_title[title], classes = predicted(trained, paper.SPLIT)
    images = list(zip(*by_title.values(), strict=True))
    scores = [float(np.mean([each.score for each in image])) for image in images]
    groups = {"": list(range(len(images)))}
    if any(rows[row].lighting for row in paper.PICTURE.values()):
        dark = conditions.is_dark([each[0]._asdict() for each in images])
        groups = {f" {light}": [index for index in groups[""] if dark[index] == (light == "dark")] for light in conditions.LIGHTS}
    columns: dict[str, list[np.ndarray]] = collections.defaultdict(list)
    names = []
    for index, rank in _ranks(scores, groups, getattr(paper, "EACH", EACH)):
        lines = _compared(dict(zip(by_title, images[index], strict=True)))
        for line in lines:
            for title, array in line.items():
                columns[title].append(array)
        names += [f"{rank}: {images[index][0].name}, mean IoU {scores[index]:.1%}", "wrong where red"][: len(lines)]
    return _drawn(columns, table, classes, names)


def _workdirs(table: str, paper: Any, runs: str, drawn: Mapping[str, str]) -> dict[str, str]:
    """Return the workdir of each row in `drawn`, by title: of the first seed that has them all, or else of the first seed."""
    seeds = range(min(seeds_of(row, paper) for row in paper.ROWS if row.name in drawn.values()))

    def of(seed: int) -> dict[str, str]:
        return {title: training.workdir(runs, table, paper.ROWS, row, seed) for title, row in drawn.items()}

    return next((folders for folders in map(of, seeds) if all(map(os.path.isdir, folders.values()))), None) or of(0)


def _ranks(scores: list[float], groups: dict[str, list[int]], each: int) -> Iterator[tuple[int, str]]:
    """Yield the `each` best and worst images of each group, with what they are; leave out images without labelled pixels."""
    for group, indices in groups.items():
        ranked = sorted((index for index in indices if scores[index] == scores[index]), key=lambda index: -scores[index])
        for rank, chosen in (("best", ranked[:each]), ("worst", ranked[each:][-each:])):
            yield from ((index, f"{rank} of {len(indices)}{group}") for index in chosen)


def _compared(by_title: dict[str, Predicted]) -> list[dict[str, np.ndarray]]:
    """Return the picture's lines for one image, each with an array per column."""
    image, _, label = next(iter(by_title.values()))[:3]
    planes = dict(itertools.chain.from_iterable(each.planes.items() for each in by_title.values()))
    # Hide unscored pixels: predictions outside a field of view are noise.
    predicted = {title: np.where(label == IGNORE, IGNORE, each.prediction) for title, each in by_title.items()}
    wrong = {title: draw.error_map(label, each.prediction) for title, each in by_title.items()}
    first = {"image": image, **planes, "label": label}
    if taken := first.keys() & by_title.keys():
        raise UserError(f"Expected titles in PICTURE that no other column has; got {', '.join(sorted(taken))}. Rename them.")
    if len(by_title) > BESIDE:
        return [{**first, **predicted}, {**dict.fromkeys(first, np.full_like(image, 255)), **wrong}]
    pairs = (((title, predicted[title]), (f"{title}: wrong", wrong[title])) for title in by_title)
    return [{**first, **dict(itertools.chain(*pairs))}]


def predicted(trained: workdirs.Trained, split: str) -> tuple[list[Predicted], Any]:
    """Predict every image of a split, in order; also return the classes."""
    source, reads = trained.run.data.scored(split), getattr(trained.method, "reads", ())
    results: list[Predicted] = []
    with Progress("predicting", len(source)) as progress:

        def seen(index: int, record: evaluation.Record, prediction: np.ndarray, further: np.ndarray) -> None:
            confusion = np.asarray(metrics.confusion(prediction[None], record["label"][None], len(source.classes)))
            image, name = record["image"], str(record.get("name", index))
            planes = {key: record[key] for key in reads if record[key].shape[:2] == image.shape[:2]}
            results.append(Predicted(image, planes, record["label"], name, prediction, metrics.mean_iou(confusion)))
            progress.at(index + 1)

        scoring.scored(*trained[:3], source, batch=trained.run.batch_size, seen=seen)
    return results, source.classes


def reconstructions(table: str, paper: Any, runs: str) -> str:
    """Draw images, and the input and reconstruction of each RECONSTRUCTIONS row's autoencoder; return the picture's path."""
    columns: dict[str, Any] = {}
    names: list[str] = []
    for title, folder in _workdirs(table, paper, runs, paper.RECONSTRUCTIONS).items():
        trained = workdirs.load_trained(folder)
        chosen = _chosen(trained, paper.SPLIT)
        batch = next(iter(scoring.windows(trained.run, chosen, len(chosen))))
        shown = jax.device_get(scoring.shower(trained.method)(trained.variables, batch))
        columns["image"], names = shown["image"], [record["name"] for record in chosen]
        seen = next((name for name in ("visible", "noisy") if name in shown), "")
        columns |= {f"{title}: {seen}": shown[seen]} if seen else {}
        columns[f"{title}: back"] = shown["reconstruction"]
    return _drawn(columns, f"{table}_reconstructions", (), names)


def _chosen(trained: workdirs.Trained, split: str) -> list[dict[str, Any]]:
    source = trained.run.data.scored(split)
    return [source[index] for index in np.linspace(0, len(source) - 1, SHOWN).round().astype(int)]


def _drawn(columns: dict[str, Any], name: str, classes: Any, names: list[str]) -> str:
    path = os.path.join(measurements.RESULTS, "pictures", f"{name}.jpg")
    draw.panel(columns, path, classes, names)
    return path
