"""Evaluate on a whole data set in one pass: sum over all pixels or images, then divide once."""

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from aeseg import metrics
from aeseg.data.records import Record, Source, Transform, check
from aeseg.inference.measures import Measure
from aeseg.inference.sliding import Predict, sliding
from aeseg.inference.views import averaged, checked
from aeseg.inference.windows import Inputs
from aeseg.metrics import Mean
from aeseg.types import IGNORE, UserError


def segmentation(
    predict: Predict,
    source: Source,
    transforms: Sequence[Transform],
    window: tuple[int, int],
    classes: Sequence[str],
    stride: tuple[int, int] = (0, 0),
    batch: int = 1,
    weights: str = "uniform",
    largest: int = 0,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    further: int = 0,
    measures: Sequence[Measure] = (),
    threads: int = 2,
    seen: Callable[[int, Record, np.ndarray, np.ndarray], None] = lambda index, record, prediction, further: None,
    reads: Sequence[str] = (),
) -> dict[str, Any]:
    """Score `predict` ([b h w c] uint8 -> logits [b h w k]) on a whole source; return `scores` and the scores of `measures`.

    Records pass through `transforms`. Images of another size than the window are predicted in sliding windows (see `sliding`), and
    with `scales` or `flip` in several views (see `views.averaged`). With several processes, each predicts part of the records on
    its own devices, and the counts are summed.

    further  number of planes that `predict` returns after the classes, such as an uncertainty; no score reads them
    seen     called after each image as seen(index, record, prediction, planes [h w further])
    reads    entries of a record, beside the image, that `predict` reads: it then gets `inputs` of several records
    """
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    unlabelled = np.zeros((1, 1, len(classes)), np.float32), np.zeros((1, 1), np.int32), np.full((1, 1), IGNORE)
    counted = [measure.counts(*unlabelled) for measure in measures]  # zeros, also for a process without images
    images = ignored = 0
    waiting: deque[Record] = deque()  # records whose logits are pending

    def read() -> Iterator[Inputs]:
        for record in records(source, transforms, threads, jax.process_index(), jax.process_count()):
            _check_label(record, len(classes))
            waiting.append(record)
            yield inputs(record, reads) if reads else record["image"]

    slide = functools.partial(sliding, predict, window=window, stride=stride, batch=batch, weights=weights, largest=largest)
    for number, values in enumerate(averaged(slide, read(), scales, flip, further)):
        record, classified = waiting.popleft(), values.shape[-1] - further
        values = checked(values, str(record.get("name", f"image {number}")))
        logits, planes = np.split(values, [classified], axis=-1)
        prediction = np.argmax(logits, axis=-1).astype(np.int32)
        confusion += counted_pixels(prediction, record["label"], len(classes), window[0] * window[1])
        counted = jax.tree.map(np.add, counted, [measure.counts(logits, prediction, record["label"]) for measure in measures])
        images, ignored = images + 1, ignored + int(np.sum(record["label"] == IGNORE))
        seen(jax.process_index() + number * jax.process_count(), record, prediction, planes)
    confusion, counted, images, ignored = summed((confusion, counted, np.int64(images), np.int64(ignored)))
    if not confusion.any():
        raise UserError(f"Expected labelled pixels to score; all pixels of the {int(images)} images are ignored. Check the class table.")
    results = scores(confusion, classes)
    for measure, sums in zip(measures, counted, strict=True):
        results = _joined(results, measure.scores(sums))
    return {**results, "images": int(images), "ignored_pixels": int(ignored)}


def inputs(record: Record, reads: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the image and the entries `reads` of a record, each with `has_<key>`."""
    keys = ("image", *reads)
    if absent := [key for key in keys if key not in record]:
        there = ", ".join(sorted(key for key in record if not key.startswith("has_") and isinstance(record[key], np.ndarray)))
        raise UserError(
            f"The network reads {', '.join(absent)}; record {record.get('name', '?')} has {there}. Name its folder in "
            "--config.data.source.aligned, or score other data."
        )
    return {**{key: record[key] for key in keys}, **{f"has_{key}": np.asarray(record.get(f"has_{key}", True)) for key in keys}}


def scores(confusion: Int[np.ndarray, "k k"], classes: Sequence[str]) -> dict[str, Any]:
    """Return the scores of a confusion matrix (row: label, column: prediction), ready for JSON.

    `mean_iou` and `mean_dice` average the classes that are labelled or predicted, `classes_averaged` in number; `class_accuracy`
    averages the labelled classes; `mean_iou_reference` always divides by k. The scores of a class that is left out are None.
    """
    iou, dice, accuracy = metrics.iou(confusion), metrics.dice(confusion), metrics.class_accuracies(confusion)
    return {
        "mean_iou": metrics.mean_iou(confusion),
        "classes_averaged": metrics.classes_averaged(confusion),
        "mean_iou_reference": metrics.reference_mean_iou(confusion),
        "pixel_accuracy": metrics.pixel_accuracy(confusion),
        "class_accuracy": metrics.class_accuracy(confusion),
        "mean_dice": metrics.mean_dice(confusion),
        "frequency_weighted_iou": metrics.frequency_weighted_iou(confusion),
        "per_class": [
            {
                "name": name,
                "iou": _number(iou[index]),
                "dice": _number(dice[index]),
                "accuracy": _number(accuracy[index]),
                "pixels": int(confusion[index].sum()),
            }
            for index, name in enumerate(classes)
        ],
        "confusion": confusion.tolist(),
        "pixels": int(confusion.sum()),
    }


def autoencoder(
    means: Callable[[Mapping[str, Any]], Mapping[str, Mean]],
    batches: Iterable[Mapping[str, Any]],
    coefficients: Mapping[str, float],
    seen: Callable[[int], None] = lambda images: None,
    summary: Callable[[dict[str, Any]], dict[str, float]] = dict,
) -> dict[str, Any]:
    """Return each Mean of a method over a whole data set, the `loss`, and the number of images.

    `means(batch)` returns the Means of a batch, in evaluation; padding rows have weight 0. `seen(images)` is called after each
    batch. With several processes, each has its own rows; totals and weights are summed before the division.
    A method with a `summary` may return Means of arrays (how often each code occurs); `summary(values)` turns them into numbers.
    """
    totals: dict[str, Any] = {}
    images = 0
    for batch in batches:
        for name, mean in jax.device_get(dict(means(batch))).items():
            total, weight = totals.get(name, (0, 0))
            totals[name] = (total + np.asarray(mean.total, np.float64), weight + np.asarray(mean.weight, np.float64))
        images += int(np.sum(batch["valid"]))
        seen(images)
    totals, images = summed((totals, np.int64(images)))
    values = summary({name: total / weight if weight else np.zeros_like(total) for name, (total, weight) in totals.items()})
    values = {name: float(value) for name, value in values.items()}
    return {**values, "loss": sum(c * values[name] for name, c in coefficients.items() if name in values), "images": int(images)}


def records(source: Source, transforms: Sequence[Transform], threads: int, process: int = 0, processes: int = 1) -> Iterator[Record]:
    """Yield the records of this process in order, read ahead by `threads`. A random transform draws the same numbers each time."""

    def read(index: int) -> Record:
        record, rng = check(source[index]), np.random.default_rng((0, index))  # as loader.evaluation_batches
        for transform in transforms:
            record = transform(record, rng)
        return record

    with ThreadPoolExecutor(max(1, threads)) as pool:
        ahead: deque[Any] = deque()
        for index in range(process, len(source), processes):
            ahead.append(pool.submit(read, index))
            if len(ahead) > 2 * threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _joined(scores: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Add the scores of a measure; values per class go to `per_class`."""
    each = {name: values for name, values in more.items() if np.ndim(values)}
    per_class = [
        {**entry, **{name: _number(values[index]) for name, values in each.items()}} for index, entry in enumerate(scores["per_class"])
    ]
    return {**scores, **{name: _number(value) for name, value in more.items() if name not in each}, "per_class": per_class}


def _check_label(record: Record, classes: int) -> None:
    if "label" not in record:
        raise UserError(f"{record.get('name', 'A record')} has no label, so it cannot be scored. Use a source with labels.")
    wrong = record["label"][(record["label"] >= classes) & (record["label"] != IGNORE)]
    if wrong.size:
        raise UserError(
            f"{record.get('name', 'A record')} holds the label {int(wrong[0])}; the model has classes 0 to {classes - 1}, and {IGNORE} is "
            "ignored. Map the labels in the data source, or train with more classes."
        )


def counted_pixels(prediction: np.ndarray, label: np.ndarray, classes: int, pixels: int) -> np.ndarray:
    """Return the confusion matrix of an image, int64 [classes classes].

    It is counted in pieces of `pixels`, the last padded with IGNORE: one compilation serves images of all sizes.
    """
    counts = np.zeros((classes, classes), np.int64)
    for start in range(0, label.size, pixels):
        piece = np.full((2, pixels), IGNORE, np.int32)
        labels = label.ravel()[start : start + pixels]
        piece[0, : labels.size], piece[1, : labels.size] = prediction.ravel()[start : start + pixels], labels
        counts += np.asarray(metrics.confusion(piece[:1], piece[1:], classes), np.int64)
    return counts


def summed(tree: Any) -> Any:
    """Sum the leaves over the processes."""
    if jax.process_count() == 1:
        return tree
    from jax.experimental import multihost_utils

    # Gather as pairs of int32: without jax_enable_x64, int64 and float64 would be truncated.
    def one(leaf: np.ndarray | np.generic) -> np.ndarray | np.generic:
        bits = np.ascontiguousarray(leaf).reshape(-1).view(np.int32)
        gathered = np.asarray(multihost_utils.process_allgather(bits))
        return np.ascontiguousarray(gathered).view(leaf.dtype).reshape(-1, *leaf.shape).sum(axis=0)

    return jax.tree.map(one, tree)


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
