"""Read a workdir and predict its images: settings, curves, scores and pictures."""

import dataclasses
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from aeseg import calibration, files, metrics, spec
from aeseg.data import wrappers
from aeseg.data.survey import spread
from aeseg.inference import draw
from aeseg.inference.measures import Measure
from aeseg.runs import evaluations
from aeseg.runs import scores as scoring
from aeseg.runs import workdir as workdirs
from aeseg.runs.run import is_segmenter
from aeseg.types import IGNORE, Class, UserError

from . import intervals, pictures

CARD_BYTES = 9 * 2**20
"""Largest total size of a page's pictures, in bytes."""


@dataclasses.dataclass(frozen=True)
class Segmented:
    """An image with its label and prediction; `iou` of each class, None if the label lacks it; `score` is their mean."""

    name: str
    score: float
    iou: tuple[float | None, ...]
    right: float
    layers: pictures.Layers


@dataclasses.dataclass(frozen=True)
class Restored:
    """An image and an autoencoder's output: pictures by title; `score` is the PSNR in decibels."""

    name: str
    score: float
    columns: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Judged:
    """Scores of a network on `images` of the `of` images of a split, and the cards to show, worst first.

    `intervals` are of each class's IoU, `mean_interval` of their mean; `bins` are (confidence, accuracy, pixels).
    """

    split: str
    images: int
    of: int
    scores: Mapping[str, Any]
    cards: tuple[Segmented, ...] | tuple[Restored, ...]
    classes: tuple[Class, ...] = ()
    intervals: Any = ()
    mean_interval: tuple[float, float] = (math.nan, math.nan)
    bins: tuple[tuple[float, float, int], ...] = ()


@dataclasses.dataclass(frozen=True)
class RunPage:
    """Contents of a workdir's page.  `missing` is the reason for missing pictures, or ""."""

    name: str
    path: str
    config: Mapping[str, Any]
    curves: Mapping[str, Sequence[tuple[float, float]]]
    evaluations: Sequence[Mapping[str, Any]]
    step: int
    judged: Judged | None
    missing: str = ""
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    restorations: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def segments(self) -> bool:
        """Return whether the run trains a segmenter."""
        return is_segmenter(self.config)


def gather(
    path: str,
    split: str,
    most: int,
    budget: int,
    best: bool = False,
    at: Callable[[int, int], None] = lambda done, of: None,
    look: Callable[[workdirs.Trained], workdirs.Trained] = lambda trained: trained,
) -> RunPage:
    """Read a workdir and predict at most `most` images of a split; pictures take at most `budget` bytes.

    If images or weights are missing, the page has the other parts.  `look` may make the network read other images.
    """
    config = spec.plain(workdirs.stored_config(path))
    origin = files.json_object(os.path.join(path, "row.json"))
    measured = evaluations.read(path).every
    page = RunPage(
        os.path.basename(os.path.abspath(path)),
        path,
        config,
        curves(path),
        measured,
        0,
        None,
        "",
        origin,
        evaluations.read(path, "restore.json").last,
    )
    try:
        trained = look(workdirs.load_trained(path, workdirs.best_step(path) if best else -1))
        page = dataclasses.replace(page, step=trained.step)
        source = trained.run.data.scored(split)
        judge = _segmenter if trained.run.segments else _autoencoder
        return dataclasses.replace(page, judged=judge(trained, source, split, most, budget, at))
    except UserError as error:
        return dataclasses.replace(page, missing=str(error))


def curves(path: str) -> dict[str, list[tuple[float, float]]]:
    """Return the finite numbers of a run's metrics.jsonl by name, as (step, value)."""
    series: dict[str, list[tuple[float, float]]] = {}
    for row in files.json_objects(os.path.join(path, "metrics.jsonl"))[0]:
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float) and isinstance(row.get("step"), int):
                series.setdefault(name, []).append((row["step"], float(value)))
    return series


def _segmenter(trained: workdirs.Trained, source: Any, split: str, most: int, budget: int, at: Callable[[int, int], None]) -> Judged:
    chosen = wrappers.Selected(source, spread(range(len(source)), most))
    classes, bins, matrices, cards = tuple(source.classes), {}, [], []
    if len(classes) != trained.method.classes:
        raise UserError(f"The data has {len(classes)} classes, the network {trained.method.classes}. The page has no predictions.")

    def counted(logits: np.ndarray, prediction: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
        known = label != IGNORE
        confidence = calibration.confidence(logits, prediction)[known]
        return calibration.reliability(confidence, prediction[known] == label[known])._asdict()

    def kept(sums: Mapping[str, np.ndarray]) -> dict[str, Any]:
        bins.update(sums)
        return {"expected_calibration_error": calibration.expected_calibration_error(calibration.Reliability(**sums))}

    def seen(index: int, record: Mapping[str, Any], prediction: np.ndarray, further: np.ndarray) -> None:
        matrix = np.asarray(metrics.confusion(prediction[None], record["label"][None], len(classes)), np.int64)
        matrices.append(matrix)
        present = np.flatnonzero(matrix.sum(axis=1))
        iou = metrics.iou(matrix)
        cards.append(
            Segmented(
                str(record.get("name", index)),
                float(np.mean(iou[present])) if present.size else math.nan,
                tuple(float(iou[number]) if number in present else None for number in range(len(classes))),
                float(np.trace(matrix) / max(1, matrix.sum())),
                pictures.layers(record["image"], record["label"], prediction, classes),
            )
        )
        at(len(cards), len(chosen))

    run = trained.run
    scores = scoring.scored(*trained[:3], chosen, batch=run.batch_size, seen=seen, measures=(Measure(counted, kept),))
    each, mean = intervals.of_iou(np.stack(matrices))
    shown = _within(_worst_first(cards, len(classes)), budget)
    filled = [number for number, pixels in enumerate(bins["pixels"]) if pixels]
    reliability = tuple(
        (float(bins["confidence"][n] / bins["pixels"][n]), float(bins["right"][n] / bins["pixels"][n]), int(bins["pixels"][n]))
        for n in filled
    )
    return Judged(split, len(chosen), len(source), scores, shown, classes, each, mean, reliability)


def _autoencoder(trained: workdirs.Trained, source: Any, split: str, most: int, budget: int, at: Callable[[int, int], None]) -> Judged:
    chosen = wrappers.Selected(source, spread(range(len(source)), most))
    batch, run = min(trained.run.batch_size, len(chosen)), trained.run
    scores = scoring.autoencoder(run, trained.variables, chosen, batch)
    show, cards = scoring.shower(trained.method), []
    names = [str(chosen[index].get("name", index)) for index in range(len(chosen))]
    for rows in scoring.windows(run, chosen, batch):
        shown = {name: np.asarray(values) for name, values in jax.device_get(show(trained.variables, rows)).items()}
        images = [name for name, values in shown.items() if values.ndim == 4 and np.issubdtype(values.dtype, np.floating)]
        for row in np.flatnonzero(rows["valid"]):
            cards.append(_restored(names[len(cards)], {name: shown[name][row] for name in images}))
        at(len(cards), len(chosen))
    ranked = sorted(cards, key=lambda card: card.score)
    return Judged(split, len(chosen), len(source), scores, _within(ranked, budget))


def _restored(name: str, shown: Mapping[str, np.ndarray]) -> Restored:
    """Return the card of an image: input, visible input, output and error."""
    titles = {"image": "input", "visible": "seen", "noisy": "seen", "reconstruction": "output", "prediction": "output"}
    columns = {titles.get(key, key): pictures.photo(values, 256) for key, values in shown.items()}
    output = next((shown[key] for key in ("reconstruction", "prediction") if key in shown), None)
    score = math.nan
    if output is not None and output.shape == shown["image"].shape:
        error = np.abs(output.astype(np.float64) - shown["image"])
        score = -10 * math.log10(max(float(np.mean(np.square(error))), 1e-10))
        columns["error"] = pictures.photo(draw.heat(error.mean(axis=-1) / 0.5), 256)
    return Restored(name, score, columns)


def _worst_first(cards: Sequence[Segmented], classes: int) -> list[Segmented]:
    """Order the cards: the worst, then the worst of each class by that class's IoU, then the others by score."""
    ranked = sorted(cards, key=lambda card: (math.isnan(card.score), card.score))
    of_class = [
        sorted((card for card in cards if card.iou[number] is not None), key=lambda card, number=number: card.iou[number])[:3]
        for number in range(classes)
    ]
    return list({id(card): card for card in (*ranked[:8], *(card for worst in of_class for card in worst), *ranked)}.values())


def _within(cards: Sequence[Any], budget: int) -> tuple[Any, ...]:
    """Return as many of the first cards as fit the budget, at least one, worst first."""
    kept, used = [], 0
    for card in cards:
        used += card.layers.bytes if isinstance(card, Segmented) else sum(map(len, card.columns.values()))
        if kept and used > budget:
            break
        kept.append(card)
    return tuple(sorted(kept, key=lambda card: (math.isnan(card.score), card.score)))
