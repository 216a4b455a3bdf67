"""Predict images of any size with a trained run: label files and overlays, or an autoencoder's reconstructions.

python -m experiments.predict --workdir=runs/segment --input=photos --output=predictions        a folder and its subfolders
python -m experiments.predict --workdir=runs/segment --input='a/**/*.jpg' --output=predictions --logits
python -m experiments.predict --workdir=runs/segment --input=photos --output=predictions --best --stride=32 --weights=gaussian
python -m experiments.predict --workdir=runs/segment --input=photos --output=predictions --samples=40      Bayesian SegNet's uncertainty
python -m experiments.predict --workdir=runs/folder-vote --input=photos --aligned=thermal=thermal,depth=depth --output=predictions

Below --output: labels/<name>.png (8-bit palette: class ids; for a GeoTIFF also <name>.tif with its georeference), overlays/<name>.png,
logits/<name>.npz (with --logits; key `logits`, float32 [h w k]), overview.png, predictions.json (predicted and failed files).
--samples adds uncertainties/<name>.png (dark: the networks sampled by dropout disagree), and `uncertainty` [h w] in the .npz: the variance
of their softmax, averaged over the classes.

Results have the size of the stored image (EXIF rotation is not applied).  If a run's evaluation resizes images
(data.evaluation_transforms), it predicts at that size, and probabilities are resized back bilinearly.  Any other run slides its window over
the image at full resolution, and writes the labels that `evaluate` scores with the same flags.  If probabilities are resized, or averaged
over views or networks (--flip, --scales, --samples), --logits writes their logarithms.

A network of several modalities reads the other files of an image by its name: thermal/a.png of photos/a.jpg.  A folder that no flag names
is found by its name in training, in --input or beside it.  A file that an image lacks counts as missing; it is an error for planes that are
channels of the image, unless training left some out (DropModalities).

Images of more than 16 million pixels are predicted in strips.  If files cannot be read or predicted, the command lists them and exits
with 1.  It overwrites only results of an earlier run, and follows no link out of --output.
"""

import functools
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from flax import linen as nn

from aeseg import checks
from aeseg.data import transforms
from aeseg.data.files import shown as printable
from aeseg.inference import draw, sliding
from aeseg.inference.samples import PLANES
from aeseg.inference.views import averaged, checked
from aeseg.inference.windows import Inputs, image_of
from aeseg.runs import inputs
from aeseg.runs import scores as scoring
from aeseg.runs import workdir as workdirs
from aeseg.runs.train import PICTURES
from aeseg.types import Class, UserError

from .console import cli, predictors
from .console.progress import Progress
from .machine import process
from .predictions import modalities
from .predictions.inputs import input_files, output_names, stored_item
from .predictions.outputs import OutputRefused, Outputs
from .predictions.writing import Item, in_strips, is_large, reconstructed, segmented

REMEDY = "Cut the image into tiles, or leave out --logits, --samples, --scales and --flip: then it is predicted in strips."


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit code, 1 if a file could not be read or predicted."""
    flags = cli.parse(
        argv,
        __doc__,
        input=("", "image, folder (subfolders are read), or glob in quotes"),
        output=("predictions", "folder for the results"),
        logits=(False, "also write the logits"),
        batch=(8, "windows per call"),
        **modalities.FLAGS,
        **predictors.FLAGS,
    )
    if not flags.workdir:
        raise UserError("Expected the workdir of a run; got none. Set --workdir=runs/<name>.")
    if flags.batch < 1:
        raise UserError(f"Expected at least one window per call; got --batch={flags.batch}. Set --batch.")
    process.start()
    began = time.perf_counter()
    paths = input_files(flags.input, flags.output, without=modalities.folders(flags))
    trained = workdirs.load_trained(flags.workdir, predictors.chosen_step(flags))
    classes = known_classes(trained) if trained.run.segments else ()
    given = modalities.readers(trained.run, flags, paths)
    places = modalities.places(trained.run, flags, paths, given)
    if places:
        paths = input_files(flags.input, flags.output, without=[*modalities.folders(flags), *(place.path for place in places)])
    beside, said = modalities.beside(trained.run, flags, paths, places)
    readers = [*given, *beside]
    modalities.check_required(trained.run, readers)
    for note in (*said, *modalities.notes(trained.run, readers)):
        print(f"Note: {printable(note)}", file=sys.stderr)
    if flags.logits and not classes:
        raise UserError("Only a segmenter has logits; this run is an autoencoder. Leave out --logits.")
    shown, unreadable = predict(trained, paths, classes, readers, flags)
    done = len(paths) - len(unreadable)
    if shown:
        columns = {name: [row[name] for row in shown] for name in shown[0] if name != "name"}
        overview = os.path.join(flags.output, "overview.png")
        draw.panel(columns, overview, classes, [row["name"] for row in shown])
    for path, reason in unreadable:
        print(f"Skipped {printable(path)}: {printable(reason.removeprefix(path).strip())}", file=sys.stderr)
    print(f"\n{done} of {len(paths)} images at step {trained.step} in {time.perf_counter() - began:.0f} s.")
    if shown:
        extra = [kind for kind, asked in (("logits", flags.logits), ("uncertainties", flags.samples)) if asked]
        kinds = ("labels", "overlays", *extra) if classes else ("reconstructions",)
        print(f"results     {', '.join(os.path.join(flags.output, kind) for kind in kinds)}")
        print(f"pictures    {overview}", flush=True)
    return 1 if unreadable else 0


def predict(
    trained: workdirs.Trained, paths: Sequence[str], classes: tuple[Class, ...], readers: Sequence[Any], flags: Any
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Write the results of every file; return the rows of the overview, and (path, reason) of failed files."""
    run, segments = trained.run, bool(classes)
    views, samples = predictors.chosen_views(flags, segments), predictors.chosen_samples(flags, segments)
    statistics, window = predictors.chosen_statistics(flags, segments), tuple(run.window)
    windows = {"window": window, "batch": flags.batch, **predictors.chosen_windows(flags, window, largest=run.largest_window)}
    resizes = any(isinstance(change, transforms.Resize) for change in inputs.kept_transforms(run))
    needs_all = flags.logits or samples or views != predictors.ONE_VIEW or resizes
    names, out = output_names(paths), Outputs(flags.output, paths)
    out.claim(_kinds(flags, segments), names)
    network = scoring.predictor(run, _without_noise(trained.method), trained.variables, samples, statistics)
    failed: list[tuple[str, str]] = []
    rows: list[dict[str, Any]] = []
    taken: deque[tuple[str, Item]] = deque()

    def done(row: dict[str, Any]) -> None:
        if len(rows) < PICTURES:
            rows.append(row)

    def images() -> Iterator[Inputs]:
        for path, name in zip(paths, names, strict=True):
            try:
                item = stored_item(run, path, name)
                seen = inputs.of_image(run, item.image, modalities.entries(readers, path, item.image), name)
                height, width = image_of(seen).shape[:2]
                if is_large(height, width):
                    if needs_all:
                        checks.check_memory(16 * height * width * max(3, len(classes)), path, REMEDY)
                    else:
                        strips = sliding.strips(network, seen, **windows)
                        at = functools.partial(_inside, progress, len(failed) + finished[0], path)
                        with out.writing():
                            done({"name": name} | in_strips(item, strips, classes, out, at))
                        finished[0] += 1
                        continue
            except OutputRefused:
                raise
            except (UserError, MemoryError) as error:
                failed.append((path, str(error) or "out of memory"))
                continue
            taken.append((path, item))
            yield seen

    finished = [0]
    with Progress("predicting", len(paths)) as progress:
        slide = functools.partial(sliding.sliding, network, **windows)
        for values in averaged(slide, images(), **views, further=PLANES if samples else 0):
            path, item = taken.popleft()
            try:
                values = checked(values, item.name)
            except UserError as error:
                failed.append((path, str(error)))
                continue
            with out.writing():
                made = segmented(item, values, classes, out, flags.logits, bool(samples)) if segments else reconstructed(item, values, out)
            finished[0] += 1
            done({"name": item.name, "image": item.image} | made)
            progress.at(finished[0] + len(failed))
    out.record(
        {
            "workdir": flags.workdir,
            "step": trained.step,
            "windows": windows,
            "views": views,
            "images": dict(zip(paths, names, strict=True)),
            "failed": dict(failed),
        }
    )
    return rows, failed


def known_classes(trained: workdirs.Trained) -> tuple[Class, ...]:
    """Return names and colours of the run's classes from its data; numbers if the data is not available."""
    for split in ("test", "validation", "train"):
        try:
            classes = tuple(trained.run.data.records(split).classes)
        except UserError:
            continue
        if len(classes) == trained.method.classes:
            return classes
    print("Note: the run's data set is not available, so classes are shown by number.", file=sys.stderr)
    colours = draw.palette(()).tolist()
    return tuple(Class(str(index), tuple(colours[index])) for index in range(trained.method.classes))


def _inside(progress: Progress, done: int, path: str, fraction: float) -> None:
    progress.at(done, fraction, os.path.basename(path))


def _kinds(flags: Any, segments: bool) -> list[tuple[str, str]]:
    """Return the folders and suffixes of the results."""
    if not segments:
        return [("reconstructions", ".png")]
    more = [("logits", ".npz")] * flags.logits + [("uncertainties", ".png")] * bool(flags.samples)
    return [("labels", ".png"), ("labels", ".tif"), ("overlays", ".png"), *more]


def _without_noise(method: nn.Module) -> nn.Module:
    """Return a denoising method without its corruptions."""
    return method.clone(noise=()) if hasattr(method, "noise") else method


if __name__ == "__main__":
    cli.main(run)
