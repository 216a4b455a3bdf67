"""Pictures of a table, from the runs of its first seed: where the segmenters are right and wrong, and what the autoencoders give back."""

import collections
import os
from typing import Any, NamedTuple

import jax
import numpy as np

from aeseg import metrics
from aeseg.inference import draw
from aeseg.inference import evaluate as evaluation
from aeseg.spec import build
from aeseg.training import step
from aeseg.types import IGNORE
from experiments import assembly, job, measurements, predictors
from experiments.progress import Progress

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
    paths = [predictions(table, paper, runs)]
    if hasattr(paper, "RECONSTRUCTIONS"):
        paths.append(reconstructions(table, paper, runs))
    return paths


def predictions(table: str, paper: Any, runs: str) -> str:
    """The best and the worst images of the split, each with its label, the PICTURE rows' predictions and where these are wrong.

    Best is the highest mean IoU over the classes of that image, as a mean over the PICTURE rows.  Returns the picture's path.
    """
    chosen = {row.name: row.best for row in paper.ROWS}
    by_title, classes = {}, ()
    for title, row in paper.PICTURE.items():
        place = measurements.workdir(runs, table, row, 0)
        trained = assembly.load_trained(place, assembly.best_step(place) if chosen[row] else -1)
        by_title[title], classes = predicted(trained, paper.SPLIT)
    images = list(zip(*by_title.values(), strict=True))
    scores = [float(np.mean([each.score for each in image])) for image in images]
    ranked = sorted((index for index, score in enumerate(scores) if score == score), key=lambda index: -scores[index])
    each = getattr(paper, "EACH", EACH)
    worst = ranked[each:][-each:]
    beside = len(by_title) <= BESIDE
    columns: dict[str, list[np.ndarray]] = collections.defaultdict(list)
    names = []
    for index in [*ranked[:each], *worst]:
        image, label, name = images[index][0][:3]
        empty = np.full_like(image, 255)
        lines = [{"image": image, "label": label}, {} if beside else {"image": empty, "label": empty}]
        for title, one in zip(by_title, images[index], strict=True):
            # Where nothing is scored nothing is shown: what a network says outside a field of view is noise.
            lines[0][title] = np.where(label == IGNORE, IGNORE, one.prediction)
            lines[not beside][f"{title}: wrong" if beside else title] = draw.error_map(label, one.prediction)
        for line in filter(None, lines):
            for title, array in line.items():
                columns[title].append(array)
        names.append(f"{'worst' if index in worst else 'best'} of {len(images)}: {name}, mean IoU {scores[index]:.1%}")
        names += [] if beside else ["wrong where red"]
    return _drawn(columns, table, classes, names)


def predicted(trained: assembly.Trained, split: str) -> tuple[list[Predicted], Any]:
    """What a network makes of every image of a split, in the split's order; and the classes."""
    source = assembly.scored_source(trained.config.data, split)
    found: list[Predicted] = []
    with Progress("predicting", len(source)) as progress:

        def seen(index: int, record: evaluation.Record, prediction: np.ndarray, further: np.ndarray) -> None:
            confusion = np.asarray(metrics.confusion(prediction[None], record["label"][None], len(source.classes)))
            name = str(record.get("name", index))
            found.append(Predicted(record["image"], record["label"], name, prediction, metrics.mean_iou(confusion)))
            progress.at(index + 1)

        evaluation.segmentation(
            predictors.predictor(trained),
            source,
            build(trained.config.data.evaluation_transforms),
            tuple(trained.config.window),
            [name for name, _ in source.classes],
            batch=trained.config.batch_size,
            threads=trained.config.data.threads,
            seen=seen,
        )
    return found, source.classes


def reconstructions(table: str, paper: Any, runs: str) -> str:
    """The image, and for each RECONSTRUCTIONS row what its autoencoder was shown and gave back; returns the picture's path."""
    columns: dict[str, Any] = {}
    names: list[str] = []
    for title, row in paper.RECONSTRUCTIONS.items():
        trained = assembly.load_trained(measurements.workdir(runs, table, row, 0))
        chosen = _chosen(trained, paper.SPLIT)
        apply = trained.method.apply
        show = job.on_local_devices(lambda variables, batch, apply=apply: apply(variables, step.prepare(batch), method="show"))
        shown = jax.device_get(show(trained.variables, next(iter(job.windows(trained.config, chosen, len(chosen))))))
        columns["image"], names = shown["image"], [record["name"] for record in chosen]
        seen = next((name for name in ("visible", "noisy") if name in shown), "")
        columns |= {f"{title}: {seen}": shown[seen]} if seen else {}
        columns[f"{title}: back"] = shown["reconstruction"]
    return _drawn(columns, f"{table}_reconstructions", (), names)


def _chosen(trained: assembly.Trained, split: str) -> list[dict[str, Any]]:
    source = assembly.scored_source(trained.config.data, split)
    return [source[index] for index in np.linspace(0, len(source) - 1, SHOWN).round().astype(int)]


def _drawn(columns: dict[str, Any], name: str, classes: Any, names: list[str]) -> str:
    path = os.path.join(measurements.RESULTS, "pictures", f"{name}.jpg")
    draw.panel(columns, path, classes, names)
    return path
