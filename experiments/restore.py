"""Restore images of any size by a denoising autoencoder, or compare it with the usual methods.

python -m experiments.restore --init=runs/restoration-denoise --task=denoise --input=photos --output=restored   a folder and its subfolders
python -m experiments.restore --init=runs/restoration-inpaint --task=inpaint --input=photos --masks=holes --output=restored
python -m experiments.restore --init=runs/restoration-superresolve --task=superresolve --input=a.jpg --output=restored   twice the size
python -m experiments.restore --init=runs/restoration-denoise --task=denoise --table   degrade the run's test images and restore them
python -m experiments.restore --init=runs/restoration-deblur --task=deblur --input=photos --table   ... or other clean images

A network undoes what it was trained to undo (config restoration: noise, blur, holes, shrinking), as its workdir records.  Below --output:
restored/<name>.png, or .tif for a TIFF, in the bits of the file, with its transparency, EXIF, colour profile and georeference;
overview.png; restorations.json (restored and failed files).  For inpaint, --masks has a mask for each image (white: fill in); other pixels
stay as they are.  If files cannot be read or restored, the command lists them and exits with 1.  It overwrites only results of an earlier
restore, and follows no link out of --output.

--table degrades clean images as in training, drawn by --seed and rounded to 8 bits, and prints PSNR and SSIM beside non-local means,
Wiener filters, Telea's inpainting and bicubic enlargement.  Their settings are the best of several on four of the images.  The numbers go
to restore.json in the workdir, for `report`.
"""

import functools
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from aeseg import files, noises
from aeseg.data import copies
from aeseg.data.files import shown as printable
from aeseg.inference import draw, restoration
from aeseg.inference.restoration import Degraded
from aeseg.runs import evaluations
from aeseg.runs import scores as scoring
from aeseg.runs import workdir as workdirs
from aeseg.runs.train import PICTURES
from aeseg.types import UserError

from .console import cli, predictors
from .console.progress import Progress
from .machine import process
from .machine.provenance import provenance
from .predictions.inputs import input_files, output_names
from .predictions.masks import mask_paths, read_mask
from .predictions.outputs import OutputRefused, Outputs
from .recorded import measurements
from .restorations import results, rivals, table
from .restorations.clean import Clean

FLAGS = {name: predictors.FLAGS[name] for name in ("step", "best", "stride", "largest")}


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit code, 1 if a file could not be read or restored."""
    flags = cli.parse(
        argv,
        __doc__,
        init=("", "workdir of a run of the config restoration, or of another denoising autoencoder"),
        task=("", f"{', '.join(noises.TASKS)}; default: the network's"),
        input=("", "image, folder (subfolders are read), or glob in quotes; for --table, clean images (default: the run's test split)"),
        output=("restored", "folder for the results"),
        masks=("", "inpaint: folder of masks with the images' names, or the mask of one image"),
        table=(False, "degrade clean images, restore them, and print PSNR and SSIM beside the usual methods"),
        seed=(0, "--table: seed of the degradation"),
        most=(0, "--table: number of images, evenly spread; 0: all"),
        record=(False, "--table: also append the numbers to experiments/results/restore.jsonl"),
        weights=("gaussian", "weights of pixels in a sliding window: gaussian or uniform"),
        batch=(8, "windows per call"),
        **predictors.DATA,
        **FLAGS,
    )
    if not flags.init:
        raise UserError("Expected the workdir of a run; got none. Set --init=runs/restoration-denoise.")
    if flags.task not in ("", *noises.TASKS):
        raise UserError(f"The tasks are {', '.join(noises.TASKS)}; got {flags.task!r}. Set --task to one of these.")
    if flags.most < 0 or flags.seed < 0:
        raise UserError(f"Expected numbers from 0; got --most={flags.most} --seed={flags.seed}. Leave them out, or set --most=50.")
    if flags.table:
        rivals.check_installed()
    elif unread := [name for name in ("seed", "most", "record", *predictors.DATA) if getattr(flags, name)]:
        raise UserError(f"--{unread[0]} is of a table. Add --table, or leave it out.")
    process.start()
    began = time.perf_counter()
    trained = workdirs.load_trained(flags.init, predictors.chosen_step(flags, flags.init))
    task = checked_task(trained, flags)
    restore = restorer(trained, flags)
    if flags.table:
        tabulate(trained, task, restore, flags, began)
        return 0
    if bool(flags.masks) != (task == "inpaint"):
        remedy = "Leave out --masks." if flags.masks else "Set --masks to a folder of masks, white where to fill in."
        raise UserError(f"Masks are of inpaint, and it needs them; the task is {task}, --masks={flags.masks!r}. {remedy}")
    paths = input_files(flags.input, flags.output)
    rows, failed = photographs(trained, paths, restore, flags)
    for path, reason in failed:
        print(f"Skipped {printable(path)}: {printable(reason.removeprefix(path).strip())}", file=sys.stderr)
    print(f"\n{len(paths) - len(failed)} of {len(paths)} images at step {trained.step} in {time.perf_counter() - began:.0f} s.")
    if rows:
        overview = os.path.join(flags.output, "overview.png")
        names = [row.pop("name") for row in rows]
        draw.panel({name: [row[name] for row in rows] for name in rows[0]}, overview, (), names)
        print(f"results     {os.path.join(flags.output, 'restored')}\npictures    {overview}", flush=True)
    return 1 if failed else 0


def checked_task(trained: workdirs.Trained, flags: Any) -> str:
    """Return the task of the network; raise UserError if it removes no noise, or another than --task."""
    noise = getattr(trained.method, "noise", ())
    task = noises.task(noise)
    if not task:
        kind = type(trained.method).__name__ + (" without noise" if hasattr(trained.method, "noise") else "")
        raise UserError(
            f"Expected a network that removes noise; {flags.init} holds a {kind}. Train one: pretrain --config=restoration:denoise."
        )
    if flags.task not in ("", task):
        raise UserError(
            f"{flags.init} was trained to {task} ({', '.join(map(str, noise))}); got --task={flags.task}. "
            f"Set --task={task}, or train another: pretrain --config=restoration:{flags.task}."
        )
    described = trained.run.data.described("test")
    if tuple(described.get("value_range", (0, 0))) not in ((0, 0), (0.0, 0.0)) or described.get("bands"):
        raise UserError(
            f"restore keeps files of 8 and 16 bits as they are; {flags.init} was trained on a value range or bands of its files. "
            "Train on converted files."
        )
    return task


def restorer(trained: workdirs.Trained, flags: Any) -> Any:
    """Return a function of (degraded image, its name, at=...) that restores it by the network in sliding windows."""
    run, noise, window = trained.run, trained.method.noise, tuple(trained.run.window)
    windows = {"window": window, "batch": flags.batch, **predictors.chosen_windows(flags, window, largest=run.largest_window)}
    network = scoring.predictor(run, trained.method.clone(noise=()), trained.variables)

    def restore(one: Degraded, name: str, **how: Any) -> np.ndarray:
        return restoration.restored(network, one, noise, name, **windows, **how)

    return restore


def photographs(
    trained: workdirs.Trained, paths: Sequence[str], restore: Any, flags: Any
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Restore every file; return the rows of the overview, and (path, reason) of failed files."""
    names, out = output_names(paths), Outputs(flags.output, paths, "restore")
    out.claim([("restored", ".png"), ("restored", ".tif")], names)
    masks = mask_paths(flags.masks, paths) if flags.masks else {}
    channels, factor = trained.run.data.described("test").get("channels", 3), restoration.factor(trained.method.noise)
    rows: list[dict[str, Any]] = []
    failed: list[tuple[str, str]] = []
    with Progress("restoring", len(paths)) as progress:
        for number, (path, name) in enumerate(zip(paths, names, strict=True)):
            try:
                copy = copies.read(path, channels)
                one = Degraded(copy.image, read_mask(masks[path], path, copy.image.shape) if masks else None)
                image = restore(one, name, at=functools.partial(progress.at, number, name=os.path.basename(path)))
                copy = copies.enlarged(copy, image, factor)
                with out.writing(), files.replacing(out.path("restored", name, copy.ending)) as temporary:
                    copies.write(temporary, copy)
            except OutputRefused:
                raise
            except (UserError, MemoryError) as error:
                failed.append((path, str(error) or "out of memory"))
                continue
            if len(rows) < PICTURES:
                rows.append({"name": name, **_pictures(one, image)})
            progress.at(number + 1)
    made = {path: name for path, name in zip(paths, names, strict=True) if path not in dict(failed)}
    out.record({"init": flags.init, "step": trained.step, "noise": repr(trained.method.noise), "images": made, "failed": dict(failed)})
    return rows, failed


def tabulate(trained: workdirs.Trained, task: str, restore: Any, flags: Any, began: float) -> None:
    """Print, draw and store the table."""
    noise = trained.method.noise
    clean = Clean(trained, flags)
    with Progress("comparing", len(clean)) as progress:
        scores, settings, columns, names = table.compared(clean, noise, flags.seed, restore, progress.at)
    means = table.summary(scores)
    title = f"{task}, {os.path.basename(os.path.normpath(flags.init))}, step {trained.step}"
    picture = os.path.join(flags.init, "pictures", f"{task}_{trained.step:06d}.png")
    draw.panel(columns, picture, (), names, title)
    entry = {
        "task": task,
        "noise": [str(each) for each in noise],
        "images": len(clean),
        "data": clean.title,
        "seed": flags.seed,
        "step": trained.step,
        "training": {"seed": trained.run.seed, "steps": trained.run.steps, "batch_size": trained.run.batch_size},
        "methods": means,
        "settings": settings,
        "seconds": round(time.perf_counter() - began, 1),
        **provenance(),
    }
    path = evaluations.add(flags.init, task, entry, "restore.json")
    if flags.record:
        measurements.append(results.RESULTS, entry)
    print(f"\n{', '.join(map(str, noise))}; seed {flags.seed}, {len(clean)} images\n\n{table.text(means, settings)}")
    print(f"\n{entry['seconds']:.0f} s.\nnumbers     {path}\npictures    {picture}", flush=True)


def _pictures(one: Degraded, image: np.ndarray) -> dict[str, Any]:
    """Return the columns of a restored file, thinned if it is large: input, restored image, and what has changed."""
    thin = max(1, -(-max(image.shape[:2]) // 2000))
    columns: dict[str, Any] = {"input": one.image[::thin, ::thin]}
    if one.hidden is not None:
        columns["input"] = np.where(one.hidden[..., None], 0, one.image)[::thin, ::thin]
    columns["restored"] = image[::thin, ::thin]
    if one.image.shape == image.shape:
        columns["change"] = draw.heat(5 * restoration.difference(one.image, image)[::thin, ::thin])
    return columns


if __name__ == "__main__":
    cli.main(run)
