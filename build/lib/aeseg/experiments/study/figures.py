"""Pictures of a table, from the runs of its first seed: where the segmenters are right and wrong, and what the autoencoders give back."""

import collections
import itertools
import os
from typing import Any, NamedTuple

import jax
import numpy as np

from aeseg import metrics
from aeseg.inference import draw
from aeseg.inference import evaluate as evaluation
from aeseg.runs import scores as scoring
from aeseg.runs import workdir as workdirs
from aeseg.types import IGNORE, UserError

from ..console.progress import Progress
from . import measurements

EACH = 2
"""How many of the best and of the worst images are drawn, where the table does not set its own EACH."""
BESIDE = 2
"""With so many networks what is wrong stands beside each prediction; with more, below it."""
SHOWN = 3
"""Records of a picture of reconstructions, spread over the split."""


class Predicted(NamedTuple):
    """An image of a split, its label and name, what a network predicted, and the mean IoU of that over the classes in it."""

    image: np.ndarray
    label: np.ndarray
    name: str
    prediction: np.ndarray
    score: float


def write(table: str, paper: Any, runs: str) -> list[str]:
    """Draw what the table names in PICTURE and RECONSTRUCTIONS into the results' pictures; returns their paths."""
    _check(table, paper)
    paths = [predictions(table, paper, runs)]
    if hasattr(paper, "RECONSTRUCTIONS"):
        paths.append(reconstructions(table, paper, runs))
    return paths


def _check(table: str, paper: Any) -> None:
    """A table without PICTURE, or whose rows of this scale are not those that it draws, is a UserError."""
    if not hasattr(paper, "PICTURE"):
        raise UserError(
            f"Expected a table that names in PICTURE the rows to draw; {table} names none. "
            f"Add PICTURE to experiments/papers/{table}.py, or draw its numbers with --plot."
        )
    there = {row.name for row in paper.ROWS}
    drawn = {**getattr(paper, "RECONSTRUCTIONS", {}), **paper.PICTURE}
    if gone := [name for name in dict.fromkeys(drawn.values()) if name not in there]:
        raise UserError(
            f"Expected the rows that {table} draws among those of this scale; got {'; '.join(gone)}, of another. "
            "Draw them with their own --scale, or draw this one's numbers with --plot."
        )


def predictions(table: str, paper: Any, runs: str) -> str:
    """The best and the worst images of the split, each with its label, the PICTURE rows' predictions and where these are wrong.

    Best is the highest mean IoU over the classes of that image, as a mean over the PICTURE rows.  Returns the picture's path.
    """
    chosen = {row.name: row.best for row in paper.ROWS}
    by_title, classes = {}, ()
    for title, row in paper.PICTURE.items():
        place = measurements.workdir(runs, table, paper.ROWS, row, 0)
        trained = workdirs.load_trained(place, workdirs.best_step(place) if chosen[row] else -1)
        by_title[title], classes = predicted(trained, paper.SPLIT)
    images = list(zip(*by_title.values(), strict=True))
    scores = [float(np.mean([each.score for each in image])) for image in images]
    ranked = sorted((index for index, score in enumerate(scores) if score == score), key=lambda index: -scores[index])
    each = getattr(paper, "EACH", EACH)
    best, worst = ranked[:each], ranked[each:][-each:]
    columns: dict[str, list[np.ndarray]] = collections.defaultdict(list)
    names = []
    for index in [*best, *worst]:
        lines = _compared(dict(zip(by_title, images[index], strict=True)))
        for line in lines:
            for title, array in line.items():
                columns[title].append(array)
        rank = f"{'best' if index in best else 'worst'} of {len(images)}: {images[index][0].name}, mean IoU {scores[index]:.1%}"
        names += [rank, "wrong where red"][: len(lines)]
    return _drawn(columns, table, classes, names)


def _compared(by_title: dict[str, Predicted]) -> list[dict[str, np.ndarray]]:
    """The lines of a picture that show one image, each an array for each column."""
    image, label = next(iter(by_title.values()))[:2]
    # Where nothing is scored nothing is shown: what a network says outside a field of view is noise.
    predicted = {title: np.where(label == IGNORE, IGNORE, each.prediction) for title, each in by_title.items()}
    wrong = {title: draw.error_map(label, each.prediction) for title, each in by_title.items()}
    if len(by_title) > BESIDE:
        empty = np.full_like(image, 255)
        return [{"image": image, "label": label, **predicted}, {"image": empty, "label": empty, **wrong}]
    pairs = (((title, predicted[title]), (f"{title}: wrong", wrong[title])) for title in by_title)
    return [{"image": image, "label": label, **dict(itertools.chain(*pairs))}]


def predicted(trained: workdirs.Trained, split: str) -> tuple[list[Predicted], Any]:
    """What a network makes of every image of a split, in the split's order; and the classes."""
    source = trained.run.data.scored(split)
    found: list[Predicted] = []
    with Progress("predicting", len(source)) as progress:

        def seen(index: int, record: evaluation.Record, prediction: np.ndarray, further: np.ndarray) -> None:
            confusion = np.asarray(metrics.confusion(prediction[None], record["label"][None], len(source.classes)))
            name = str(record.get("name", index))
            found.append(Predicted(record["image"], record["label"], name, prediction, metrics.mean_iou(confusion)))
            progress.at(index + 1)

        scoring.scored(*trained[:3], source, batch=trained.run.batch_size, seen=seen)
    return found, source.classes


def reconstructions(table: str, paper: Any, runs: str) -> str:
    """The image, and for each RECONSTRUCTIONS row what its autoencoder was shown and gave back; returns the picture's path."""
    columns: dict[str, Any] = {}
    names: list[str] = []
    for title, row in paper.RECONSTRUCTIONS.items():
        trained = workdirs.load_trained(measurements.workdir(runs, table, paper.ROWS, row, 0))
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
