"""Pictures of a table, from the runs of its first seed: what the segmenters predict, and what the autoencoders give back."""

import os
from typing import Any

import jax
import numpy as np

from aeseg.inference import draw
from aeseg.inference.sliding import sliding
from aeseg.spec import build
from aeseg.training import step
from aeseg.types import IGNORE
from experiments import assembly, evaluate, job, measurements

SHOWN = 3
"""Records of each picture, spread over the split."""


def write(table: str, paper: Any, runs: str) -> list[str]:
    """Draw what the table names in PICTURE and RECONSTRUCTIONS into the results' pictures; returns their paths."""
    paths = [predictions(table, paper, runs)]
    if hasattr(paper, "RECONSTRUCTIONS"):
        paths.append(reconstructions(table, paper, runs))
    return paths


def predictions(table: str, paper: Any, runs: str) -> str:
    """Image, label and the prediction of each PICTURE row; returns the picture's path."""
    columns: dict[str, list[np.ndarray]] = {}
    names, classes = [], ()
    for title, row in paper.PICTURE.items():
        trained = assembly.load_trained(measurements.workdir(runs, table, row, 0))
        chosen, classes = _chosen(trained, paper.SPLIT)
        for transform in build(trained.config.data.evaluation_transforms):
            chosen = [transform(record, np.random.default_rng(0)) for record in chosen]
        columns["image"], columns["label"] = [record["image"] for record in chosen], [record["label"] for record in chosen]
        names = [record["name"] for record in chosen]
        logits = sliding(evaluate.predictor(trained), columns["image"], tuple(trained.config.window), batch=trained.config.batch_size)
        # Where nothing is scored nothing is shown: what a network says outside a field of view is noise.
        columns[title] = [
            np.where(record["label"] == IGNORE, IGNORE, np.argmax(each, axis=-1)) for record, each in zip(chosen, logits, strict=True)
        ]
    return _drawn(columns, table, classes, names)


def reconstructions(table: str, paper: Any, runs: str) -> str:
    """The image, and for each RECONSTRUCTIONS row what its autoencoder was shown and gave back; returns the picture's path."""
    columns: dict[str, Any] = {}
    names: list[str] = []
    for title, row in paper.RECONSTRUCTIONS.items():
        trained = assembly.load_trained(measurements.workdir(runs, table, row, 0))
        chosen, _ = _chosen(trained, paper.SPLIT)
        apply = trained.method.apply
        show = job.on_local_devices(lambda variables, batch, apply=apply: apply(variables, step.prepare(batch), method="show"))
        shown = jax.device_get(show(trained.variables, next(iter(job.windows(trained.config, chosen, len(chosen))))))
        columns["image"], names = shown["image"], [record["name"] for record in chosen]
        seen = next((name for name in ("visible", "noisy") if name in shown), "")
        columns |= {f"{title}: {seen}": shown[seen]} if seen else {}
        columns[f"{title}: back"] = shown["reconstruction"]
    return _drawn(columns, f"{table}_reconstructions", (), names)


def _chosen(trained: assembly.Trained, split: str) -> tuple[list[dict[str, Any]], Any]:
    source = assembly.scored_source(trained.config.data, split)
    return [source[index] for index in np.linspace(0, len(source) - 1, SHOWN).round().astype(int)], source.classes


def _drawn(columns: dict[str, Any], name: str, classes: Any, names: list[str]) -> str:
    path = os.path.join(measurements.RESULTS, "pictures", f"{name}.jpg")
    draw.panel(columns, path, classes, names)
    return path
