"""Evaluate a run on a whole split; write metrics.json, a table and a picture.

python -m experiments.evaluate --workdir=runs/segment                    the test split
python -m experiments.evaluate --workdir=runs/pretrain --split=validation  an autoencoder: PSNR, SSIM and its losses
python -m experiments.evaluate --workdir=runs/segment --best --stride=32   best checkpoint on validation; more overlap of windows
python -m experiments.evaluate --workdir=runs/segment --root=/new/path   images were moved; --data=<description> scores other images
python -m experiments.evaluate --workdir=runs/segment --samples=40       Monte Carlo dropout, as in Bayesian SegNet
python -m experiments.evaluate --workdir=runs/segment --batch_statistics   per-image batch norm, as in FC-DenseNet

A segmenter of several modalities is also scored for every subset of them.
"""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from aeseg.inference import draw
from aeseg.inference import evaluate as evaluation
from aeseg.inference.measures import BOUNDARIES, CALIBRATION, REFERENCE_BOUNDARIES
from aeseg.runs import conditions, evaluations
from aeseg.runs import scores as scoring
from aeseg.runs import workdir as workdirs
from aeseg.runs.data import SPLITS
from aeseg.runs.train import PICTURES
from aeseg.types import UserError

from .console import cli, predictors
from .console.conditions import conditions_table, further_planes
from .console.progress import Progress
from .machine import process
from .predictions import modalities

Found = tuple[dict[str, Any], dict[str, Any], list[str]]
"""Scores, columns of the picture, names of its rows."""

MEANS = (
    "mean_iou",
    "mean_iou_reference",
    "pixel_accuracy",
    "class_accuracy",
    "mean_dice",
    "frequency_weighted_iou",
    "mean_boundary_f1",
    "mean_boundary_f1_reference",
    "mean_boundary_iou",
    "expected_calibration_error",
)
"""Metrics in the last lines of a segmenter's table, if measured."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    flags = cli.parse(
        argv,
        __doc__,
        split=("test", "train, validation or test"),
        batch=(0, "images or windows per call; 0: the run's batch size"),
        boundaries=(True, "also score boundaries of classes: 7 ms for an image of 360x480, 1 s for 1024x2048"),
        subsets=(True, "also score a segmenter of several modalities for every subset of them"),
        lighting=(False, f"also score lit and dark images apart (dark: mean below {conditions.DARK})"),
        reference_boundaries=(False, "also score boundaries as SegNet's script does: 20 ms for an image of 360x480, 1 s for 512x1024"),
        **predictors.DATA,
        **predictors.FLAGS,
    )
    if not flags.workdir:
        raise UserError("Expected the workdir of a run; got none. Set --workdir=runs/<name>.")
    if flags.split not in SPLITS:
        raise UserError(f"The splits are {', '.join(SPLITS)}; got {flags.split!r}. Set --split to one of these.")
    process.start()
    began = time.perf_counter()
    trained = predictors.chosen_data(flags, workdirs.load_trained(flags.workdir, predictors.chosen_step(flags)))
    segments = trained.run.segments
    views, samples = predictors.chosen_views(flags, segments), predictors.chosen_samples(flags, segments)
    statistics = predictors.chosen_statistics(flags, segments)
    windows = predictors.chosen_windows(flags, tuple(trained.run.window), segments, trained.run.largest_window)
    source = trained.run.data.scored(flags.split)
    batch = flags.batch or trained.run.batch_size
    picture = os.path.join(flags.workdir, "pictures", f"{flags.split}_{trained.step:06d}.png")
    if segments:
        boundaries = ((BOUNDARIES, flags.boundaries), (REFERENCE_BOUNDARIES, flags.reference_boundaries))
        measures = (CALIBRATION, *(measure for measure, asked in boundaries if asked))
        dark = conditions.is_dark(source) if flags.lighting else []
        how = {"batch": batch, "measures": measures, "dark": dark, **windows, **views}
        scores, columns, names = segmentation_scores(trained, source, samples, statistics, **how)
        scores |= {name: getattr(flags, name) for name in predictors.DATA if getattr(flags, name)}
        scores |= {"windows": windows, "views": views, "samples": samples, "batch_statistics": statistics}
        if flags.subsets and len(conditions.modalities(trained.run)) > 1:
            known = scores if views == predictors.ONE_VIEW and not (samples or statistics) else None
            scores["subsets"] = subset_scores(trained, source, dark, known, batch=batch, **windows)
    else:
        scores, columns, names = autoencoder_scores(trained, source, batch)
    if jax.process_index() != 0:
        return 0
    title = f"{os.path.basename(os.path.normpath(flags.workdir))}, {flags.split}, step {trained.step}"
    errors = ("label", "prediction") if segments else ()
    draw.panel(columns, picture, source.classes, names, title, errors)
    path = evaluations.add(flags.workdir, flags.split, {"step": trained.step, **scores})
    print("\n" + (table(scores) if "per_class" in scores else numbers(scores)))
    if part := conditions_table(scores):
        print("\n" + part)
    skipped = getattr(source, "skipped", ())
    if skipped:
        print(f"\nLeft out {len(skipped)} records that cannot be read: {' '.join(skipped[:3])}{' ...' if len(skipped) > 3 else ''}")
    print(f"\n{scores['images']:,} images of {flags.split} at step {trained.step} in {time.perf_counter() - began:.0f} s.")
    print(f"numbers     {path}\npictures    {picture}")
    which = f"--workdir={flags.workdir}{' --best' if flags.best else ''}"
    print(f"page        {process.launcher()}report {flags.workdir}{' --best' if flags.best else ''} --split={flags.split}")
    beside = " ".join(filter(None, ("--input=<file, folder or glob>", modalities.naming(conditions.modalities(trained.run)[1:]))))
    print(f"next        {process.launcher()}predict {which} {beside} --output=predictions", flush=True)
    return 0


def segmentation_scores(
    trained: workdirs.Trained, source: Any, samples: int = 0, batch_statistics: bool = False, dark: Sequence[bool] = (), **how: Any
) -> Found:
    """Score a segmenter; return scores, columns and names of six images spread over the source; `how`: see `scoring.scored`.

    The columns are image, label, prediction and, with `samples`, uncertainty; for `samples` and `batch_statistics` see `scoring.predictor`.
    `dark`, from `conditions.is_dark`, adds scores of lit and of dark images.
    """
    if len(source.classes) != trained.method.classes:
        raise UserError(
            f"The model knows {trained.method.classes} classes; the data set has {len(source.classes)}: "
            f"{', '.join(name for name, _ in source.classes) or 'no labels'}. Evaluate on the classes of its training."
        )
    chosen = set(np.linspace(0, len(source) - 1, min(PICTURES, len(source))).round().astype(int).tolist())
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("image", *further_planes(trained.run), "label", "prediction")}
    by_light = conditions.ByLight(dark, len(source.classes))
    names: list[str] = []
    with Progress("evaluating", len(source)) as progress:

        def seen(index: int, record: evaluation.Record, prediction: np.ndarray, further: np.ndarray) -> None:
            progress.at(index + 1)
            if dark:
                by_light.add(index, record, prediction, further)
            if index in chosen:
                labelled = record["label"] != draw.IGNORE
                right = f"{np.mean((prediction == record['label'])[labelled]):.1%} of its pixels right" if labelled.any() else "no label"
                names.append(f"{record.get('name', index)}   {right}")
                shown = {"image": record["image"], **{key: source[index][key] for key in further_planes(trained.run)}}
                shown |= {"label": record["label"], "prediction": prediction}
                if samples:
                    shown["uncertainty"] = draw.uncertainty_map(further[..., 0], len(source.classes))
                for column, array in shown.items():
                    columns.setdefault(column, []).append(array)

        scores = scoring.scored(*trained[:3], source, samples, batch_statistics, seen=seen, **how)
    return {**scores, **({"light": by_light.scores(source.classes)} if dark else {})}, columns, names


def subset_scores(
    trained: workdirs.Trained, source: Any, dark: Sequence[bool], known: Mapping[str, Any] | None, **how: Any
) -> list[dict[str, Any]]:
    """Score a segmenter for each subset of its modalities, without views and samples; `known` are such scores with all modalities."""
    predict = scoring.predictor(*trained[:3])
    return conditions.of_subsets(trained.run, predict, source, dark, known, **how)


def autoencoder_scores(trained: workdirs.Trained, source: Any, batch: int) -> Found:
    """Score an autoencoder on the central window of each image; return scores, columns and names."""
    show = scoring.shower(trained.method)
    with Progress("evaluating", len(source)) as progress:
        scores = scoring.autoencoder(trained.run, trained.variables, source, batch, progress.at)
    shown = jax.device_get(show(trained.variables, next(iter(scoring.windows(trained.run, source, batch)))))
    rows = min(PICTURES, batch, len(source))
    names = [str(source[row].get("name", row)) for row in range(rows)]
    return scores, {name: np.asarray(array)[:rows] for name, array in shown.items()}, names


def table(scores: dict[str, Any]) -> str:
    """Format the scores of a segmenter in percent, a line for each class; a dash for classes that do not occur."""
    width = max(len(entry["name"]) for entry in scores["per_class"])
    total = max(scores["pixels"], 1)
    lines = [f"{'class':<{width}}    IoU   Dice  accuracy      % of pixels"]
    for entry in scores["per_class"]:
        values = f"{_percent(entry['iou']):>5}  {_percent(entry['dice']):>5}  {_percent(entry['accuracy']):>8}"
        lines.append(f"{entry['name']:<{width}}  {values}  {_percent(entry['pixels'] / total):>15}")
    notes = {
        "mean_iou": f"over the {scores['classes_averaged']} classes that occur",
        "mean_iou_reference": f"always divided by {len(scores['per_class'])}",
        "mean_boundary_f1_reference": "as in SegNet's script",
    }
    names = [name for name in MEANS if scores.get(name) is not None]
    return "\n".join([*lines, "", *(f"{name:<28}{100 * scores[name]:6.2f}  {notes.get(name, '')}".rstrip() for name in names)])


def numbers(scores: dict[str, Any]) -> str:
    """Format the scores of an autoencoder, a line each."""
    units = {"psnr": " dB"}
    scalars = {name: value for name, value in scores.items() if isinstance(value, float)}
    return "\n".join(f"{name:<24}{value:.4f}{units.get(name, '')}" for name, value in scalars.items())


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.1f}"


if __name__ == "__main__":
    cli.main(run)
