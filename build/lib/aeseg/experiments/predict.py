"""What a trained run makes of images of any size: label files and overlays, or an autoencoder's reconstructions.

python -m experiments.predict --workdir=runs/segment --input=photos --output=predictions        a folder, with those in it
python -m experiments.predict --workdir=runs/segment --input='a/**/*.jpg' --output=predictions --logits
python -m experiments.predict --workdir=runs/segment --input=photos --output=predictions --best --stride=32 --weights=gaussian
python -m experiments.predict --workdir=runs/segment --input=photos --output=predictions --samples=40      Bayesian SegNet's uncertainty

Below --output: labels/<name>.png (8-bit palette: class ids), overlays/<name>.png, logits/<name>.npz (with --logits, key
`logits`, float32 [h w k]), overview.png; with --samples also uncertainties/<name>.png (dark where the networks that dropout draws
disagree), and in the .npz `uncertainty` [h w], the variance of their softmax, averaged over the classes.  Everything has the input's
own size, as stored (EXIF rotation is not applied).
A run whose evaluation resizes images (data.evaluation_transforms) predicts at that size, and probabilities are brought back
bilinearly; any other slides its window over the image at full resolution, and writes the labels that `evaluate` scores with the same
flags.  Where probabilities were brought back, or averaged over views and networks (--flip, --scales, --samples), --logits holds their
logarithms.
Files that cannot be read are listed, and the exit code is 1.
"""

import functools
import glob
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from flax import linen as nn
from jaxtyping import Float, Int32, UInt8

from aeseg.data import decode, reading, transforms
from aeseg.inference import draw
from aeseg.inference.samples import PLANES
from aeseg.inference.sliding import sliding
from aeseg.inference.views import averaged, checked, resized, softmax
from aeseg.runs import scores as scoring
from aeseg.runs import workdir as workdirs
from aeseg.runs.train import PICTURES
from aeseg.types import Class, UserError

from .console import cli, predictors
from .console.progress import Progress
from .machine import process


class Item(NamedTuple):
    """One input file: where its results go, and its pixels."""

    name: str
    image: UInt8[np.ndarray, "h w c"]


def run(argv: Sequence[str]) -> int:
    """The entry point; returns the exit code: 1 if a file could not be read."""
    flags = cli.parse(
        argv,
        __doc__,
        input=("", "an image, a folder (with the folders in it), or a glob in quotes"),
        output=("predictions", "the folder for the results"),
        logits=(False, "write the logits, too"),
        batch=(8, "windows in one call"),
        **predictors.FLAGS,
    )
    if not flags.workdir:
        raise UserError("Expected the workdir of a run; got none. Name it: --workdir=runs/<name>.")
    process.start()
    began = time.perf_counter()
    paths = input_files(flags.input, flags.output)
    trained = workdirs.load_trained(flags.workdir, predictors.chosen_step(flags))
    classes = known_classes(trained) if trained.run.segments else ()
    if flags.logits and not classes:
        raise UserError("Only a segmenter has logits; this run is an autoencoder. Leave out --logits.")
    shown, unreadable = predict(trained, paths, classes, flags)
    done = len(paths) - len(unreadable)
    if shown:
        columns = {name: [row[name] for row in shown] for name in shown[0] if name != "name"}
        overview = os.path.join(flags.output, "overview.png")
        draw.panel(columns, overview, classes, [row["name"] for row in shown])
    for path, reason in unreadable:
        print(f"Skipped {path}: {reason.removeprefix(path).strip()}", file=sys.stderr)
    print(f"\n{done} of {len(paths)} images at step {trained.step} in {time.perf_counter() - began:.0f} s.")
    if shown:
        extra = [kind for kind, asked in (("logits", flags.logits), ("uncertainties", flags.samples)) if asked]
        kinds = ("labels", "overlays", *extra) if classes else ("reconstructions",)
        print(f"results     {', '.join(os.path.join(flags.output, kind) for kind in kinds)}")
        print(f"pictures    {overview}", flush=True)
    return 1 if unreadable else 0


def predict(
    trained: workdirs.Trained, paths: Sequence[str], classes: tuple[Class, ...], flags: Any
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Write the results of every file; returns the rows of the overview, and (path, reason) of those that cannot be read."""
    run, output, segments = trained.run, flags.output, bool(classes)
    views, samples = predictors.chosen_views(flags, segments), predictors.chosen_samples(flags, segments)
    statistics, window = predictors.chosen_statistics(flags, segments), tuple(run.window)
    windows = predictors.chosen_windows(flags, window)
    changes = [change for change in run.data.evaluation_transforms if not _cuts(change)]
    resizes = any(isinstance(change, transforms.Resize) for change in changes)
    channels, how = run.data.described("test").get("channels", 3), reading.of_description(run.data.described("test"))
    names = output_names(paths)
    taken: list[Item] = []
    unreadable: list[tuple[str, str]] = []
    rows: list[dict[str, Any]] = []

    def images() -> Iterator[np.ndarray]:
        for path, name in zip(paths, names, strict=True):
            try:
                image = decode.image(path, channels, reading=how)
            except UserError as error:
                unreadable.append((path, str(error)))
                continue
            record = {"image": image, "name": name}
            for change in changes:
                record = change(record, np.random.default_rng(0))
            taken.append(Item(name, image))
            yield record["image"]

    with Progress("predicting", len(paths)) as progress:
        network = scoring.predictor(run, _without_noise(trained.method), trained.variables, samples, statistics)
        slide = functools.partial(sliding, network, window=window, batch=flags.batch, **windows)
        for number, values in enumerate(averaged(slide, images(), **views, further=PLANES if samples else 0)):
            item = taken.pop(0)
            row = {"name": item.name, "image": item.image}
            values = checked(values, item.name)
            try:
                row |= _segmented(item, values, classes, flags, resizes) if classes else _reconstructed(item, values, output)
            except OSError as error:
                raise UserError(f"Cannot write to {output}: {error.strerror}. Free space or name another --output.") from error
            if len(rows) < PICTURES:
                rows.append(row)
            progress.at(number + 1 + len(unreadable))
    return rows, unreadable


def input_files(pattern: str, output: str) -> list[str]:
    """The files that --input means, sorted: the file itself, the images in a folder and below, or what a glob matches.

    Results of an earlier run (anything below `output`) are no input.
    """
    if os.path.isfile(pattern):
        return [pattern]
    if os.path.isdir(pattern):
        found = [os.path.join(folder, name) for folder, _, names in os.walk(pattern) for name in names]
        found = [path for path in found if path.lower().endswith(decode.KINDS)]
    else:
        found = [path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)]
    results = os.path.join(os.path.realpath(output), "")
    found = sorted(path for path in found if not os.path.realpath(path).startswith(results))
    if not found:
        raise UserError(
            f"Expected images; --input={pattern!r} matches none. Name a file, a folder that holds {', '.join(decode.KINDS)}, "
            "or a glob in quotes, such as 'photos/**/*.jpg'."
        )
    return found


def output_names(paths: Sequence[str]) -> list[str]:
    """A name for the results of each file, without an ending, no two alike (also where case does not count).

    The files' common folder is left out.  a.png beside a.jpg become a_png and a_jpg.
    """
    root = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    stems = [os.path.splitext(os.path.relpath(os.path.abspath(path), root)) for path in paths]
    alike = Counter(stem.lower() for stem, _ in stems)
    used = {stem.lower() for stem, _ in stems if alike[stem.lower()] == 1}
    names = []
    for stem, ending in stems:
        name = stem
        if alike[stem.lower()] > 1:
            name, number = f"{stem}_{ending[1:]}", 2
            while name.lower() in used:
                name, number = f"{stem}_{ending[1:]}_{number}", number + 1
            used.add(name.lower())
        names.append(name)
    return names


def known_classes(trained: workdirs.Trained) -> tuple[Class, ...]:
    """Names and colours of the run's classes, from its data; numbers where the data is not at hand."""
    for split in ("test", "validation", "train"):
        try:
            classes = tuple(trained.run.data.records(split).classes)
        except UserError:
            continue
        if len(classes) == trained.method.classes:
            return classes
    print("Note: the data set of the run is not at hand, so classes are shown by number.", file=sys.stderr)
    colours = draw.palette(()).tolist()
    return tuple(Class(str(index), tuple(colours[index])) for index in range(trained.method.classes))


def most_likely(probabilities: Float[np.ndarray, "_ _ k"], size: tuple[int, int]) -> Int32[np.ndarray, "h w"]:
    """The class of the largest probability after bilinear resizing to `size` (h, w); one class at a time, to spare memory."""
    label = np.zeros(size, np.int32)
    best = np.full(size, -np.inf, np.float32)
    for index in range(probabilities.shape[-1]):
        plane = resized(probabilities[..., index : index + 1], size)[..., 0]
        label[plane > best] = index
        np.maximum(best, plane, out=best)
    return label


def _segmented(item: Item, values: np.ndarray, classes: tuple[Class, ...], flags: Any, resizes: bool) -> dict[str, Any]:
    """Write one file's results; the columns of its row in the overview."""
    size = item.image.shape[:2]
    logits, further = np.split(values, [len(classes)], axis=-1)
    if resizes:
        probabilities = softmax(logits)
        label = most_likely(probabilities, size)
    else:
        label = np.argmax(logits, axis=-1).astype(np.int32)
    beside = {"uncertainty": resized(further, size)[..., 0]} if flags.samples else {}
    if flags.logits:
        if resizes:
            logits = np.log(np.maximum(resized(probabilities, size), np.finfo(np.float32).tiny))
        path = os.path.join(flags.output, "logits", item.name + ".npz")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        np.savez_compressed(path, logits=logits.astype(np.float32), **beside)
    overlay = draw.overlay(item.image, label, classes)
    draw.write_label(os.path.join(flags.output, "labels", item.name + ".png"), label, classes)
    draw.write_image(os.path.join(flags.output, "overlays", item.name + ".png"), overlay)
    shown = {"prediction": label, "overlay": overlay}
    if beside:
        shown["uncertainty"] = draw.uncertainty_map(beside["uncertainty"], len(classes))
        draw.write_image(os.path.join(flags.output, "uncertainties", item.name + ".png"), shown["uncertainty"])
    return shown


def _reconstructed(item: Item, values: np.ndarray, output: str) -> dict[str, Any]:
    reconstruction = resized(values, item.image.shape[:2])
    draw.write_image(os.path.join(output, "reconstructions", item.name + ".png"), reconstruction)
    return {"reconstruction": reconstruction}


def _cuts(change: Any) -> bool:
    """Whether a transform changes what part of the image is seen; resizing does not, and colours' transforms do not."""
    return type(change).__module__ == transforms.__name__ and not isinstance(change, transforms.Resize)


def _without_noise(method: nn.Module) -> nn.Module:
    """A denoising method that takes the image as it is."""
    return method.clone(noise=()) if hasattr(method, "noise") else method


if __name__ == "__main__":
    cli.main(run)
