"""Map where an autoencoder's reconstruction of an image fails: candidates for what its training images do not show.

python -m experiments.anomalies --init=runs/folder-masked --input=photos --output=anomalies          a folder and its subfolders
python -m experiments.anomalies --init=runs/folder-masked --input=photos --masks=truth --output=anomalies   ... and AUROC
python -m experiments.anomalies --init=runs/folder --input=photos --output=anomalies --repeats=32 --sigma=8

The map is the absolute error of the reconstruction, smoothed by a Gaussian.  A network that hides or corrupts parts of an image is asked
--repeats times, with other parts each time; only its errors there count.  Below --output: maps/<name>.npy (float32 [h w], of the image's
size), pictures/<name>.png (all with one scale), overview.png (highest maximum first) and anomalies.json (scores, largest value of each
image, failed files).

--masks has a mask for each image (white: anomalous; all black: normal).  The area under the ROC curve is over all pixels, and over the
images by the largest value of their maps; `report` shows it, from the workdir's metrics.json.  If files cannot be read, the command lists
them and exits with 1.
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aeseg import files
from aeseg.data.files import shown as printable
from aeseg.inference import anomalies, draw, sliding
from aeseg.inference.views import checked, resized
from aeseg.runs import anomalies as networks
from aeseg.runs import evaluations, inputs
from aeseg.runs import workdir as workdirs
from aeseg.runs.train import PICTURES
from aeseg.types import UserError

from .console import cli, predictors
from .console.progress import Progress
from .machine import process
from .predictions.inputs import input_files, output_names, stored_item
from .predictions.masks import mask_paths, read_mask
from .predictions.outputs import OutputRefused, Outputs

FLAGS = {name: predictors.FLAGS[name] for name in ("step", "best", "stride", "largest")}

Maps = dict[str, str]
"""{path of an image: path of its map}."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit code, 1 if a file could not be read."""
    flags = cli.parse(
        argv,
        __doc__,
        init=("", "workdir of an autoencoder"),
        input=("", "image, folder (subfolders are read), or glob in quotes"),
        output=("anomalies", "folder for the results"),
        masks=("", "folder of masks with the images' names, or the mask of one image: white is anomalous"),
        repeats=(8, "number of maskings of each window, for a network that hides or corrupts"),
        sigma=(4.0, "standard deviation of the Gaussian that smooths the errors, in pixels; 0: none"),
        weights=("gaussian", "weights of pixels in a sliding window: gaussian or uniform"),
        batch=(8, "windows per call"),
        **FLAGS,
    )
    if not flags.init:
        raise UserError("Expected the workdir of an autoencoder; got none. Set --init=runs/<name>.")
    if flags.repeats < 1 or not 0 <= flags.sigma < 1e4:
        raise UserError(
            f"Expected repeats >= 1 and sigma >= 0; got --repeats={flags.repeats} --sigma={flags.sigma}. Set --repeats=8 --sigma=4."
        )
    process.start()
    began = time.perf_counter()
    trained = workdirs.load_trained(flags.init, predictors.chosen_step(flags, flags.init))
    if trained.run.segments:
        raise UserError(f"Expected an autoencoder; {flags.init} holds a segmenter. Name the --init of `pretrain`.")
    paths = input_files(flags.input, flags.output)
    out = Outputs(flags.output, paths, "anomalies")
    masks = mask_paths(flags.masks, paths) if flags.masks else {}
    maps, largest, marked, failed = mapped(trained, paths, masks, out, flags)
    scores = scored(maps, marked) if masks and maps else {}
    overview = drawn(trained, maps, masks, out, flags) if maps else ""
    settings = {"init": flags.init, "step": trained.step, "repeats": flags.repeats, "sigma": flags.sigma}
    out.record({**settings, **scores, "largest": largest, "failed": dict(failed)})
    if scores:
        about = {"step": trained.step, "repeats": flags.repeats, "sigma": flags.sigma, "images": len(maps)}
        evaluations.add(flags.init, f"anomalies of {flags.input}", {**scores, **about})
    for path, reason in failed:
        print(f"Skipped {printable(path)}: {printable(reason.removeprefix(path).strip())}", file=sys.stderr)
    for name, value in scores.items():
        print(f"{name.replace('_', ' '):<24}{value:.4f}")
    print(f"\n{len(maps)} of {len(paths)} images at step {trained.step} in {time.perf_counter() - began:.0f} s.")
    if overview:
        print(f"results     {os.path.join(flags.output, 'maps')}, {os.path.join(flags.output, 'pictures')}")
        print(f"numbers     {os.path.join(flags.output, 'anomalies.json')}\npictures    {overview}", flush=True)
    return 1 if failed else 0


def mapped(
    trained: workdirs.Trained, paths: Sequence[str], masks: Mapping[str, str], out: Outputs, flags: Any
) -> tuple[Maps, dict[str, float], dict[str, np.ndarray], list[tuple[str, str]]]:
    """Write every file's map; return the maps' paths, their largest values, the masks, and (path, reason) of failed files."""
    run, names = trained.run, output_names(paths)
    out.claim([("maps", ".npy"), ("pictures", ".png")], names)
    window = tuple(run.window)
    windows = {"window": window, "batch": flags.batch, **predictors.chosen_windows(flags, window, largest=run.largest_window)}
    network = networks.predictor(trained.method, trained.variables, flags.repeats)
    maps: Maps = {}
    largest, marked, failed = {}, {}, []
    with Progress("mapping", len(paths)) as progress:
        for number, (path, name) in enumerate(zip(paths, names, strict=True)):
            try:
                item = stored_item(run, path, name)
                mask = read_mask(masks[path], path, item.image.shape) if masks else None
                planes = checked(sliding.sliding_logits(network, inputs.of_image(run, item.image), **windows), name)
                values = anomalies.anomaly_map(resized(planes, item.image.shape[:2]), flags.sigma)
                target = out.path("maps", name, ".npy")
                with out.writing(), files.replacing(target) as temporary, open(temporary, "wb") as file:
                    np.save(file, values)
            except OutputRefused:
                raise
            except (UserError, MemoryError) as error:
                failed.append((path, str(error) or "out of memory"))
                continue
            maps[path], largest[path] = target, float(values.max())
            if mask is not None:
                marked[path] = mask
            progress.at(number + 1)
    return maps, largest, marked, failed


def scored(maps: Maps, marked: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return AUROC over all pixels and, by the largest value of each map, over images; only those that both kinds define."""
    values = [np.load(maps[path]) for path in maps]
    masks = [marked[path] for path in maps]
    scores = {
        "pixel_auroc": anomalies.auroc(np.concatenate([each.ravel() for each in values]), np.concatenate([each.ravel() for each in masks])),
        "image_auroc": anomalies.auroc(np.array([each.max() for each in values]), np.array([each.any() for each in masks])),
    }
    return {name: value for name, value in scores.items() if np.isfinite(value)}


def drawn(trained: workdirs.Trained, maps: Maps, masks: Mapping[str, str], out: Outputs, flags: Any) -> str:
    """Write a picture of each map, all with one scale, and the overview of the highest; return its path."""
    top = max(float(np.quantile(np.load(path), 0.999)) for path in maps.values()) or 1.0
    order = sorted(maps, key=lambda path: -float(np.load(maps[path]).max()))
    folder, columns, names = os.path.join(out.root, "maps"), {}, []
    for path in order:
        values, name = np.load(maps[path]), os.path.splitext(os.path.relpath(maps[path], folder))[0]
        picture = draw.heat(values / top)
        with out.writing():
            draw.write_image(out.path("pictures", name, ".png"), picture)
        if len(names) < PICTURES:
            names.append(f"{name}, largest {values.max():.3f}")
            item = stored_item(trained.run, path, name)
            row = {"image": item.image, "map": picture}
            if masks:
                row["mask"] = 255 * read_mask(masks[path], path, item.image.shape).astype(np.uint8)[..., None]
            thin = max(1, -(-max(item.image.shape[:2]) // 2000))
            for column, each in row.items():
                columns.setdefault(column, []).append(each[::thin, ::thin])
    overview = os.path.join(out.root, "overview.png")
    draw.panel(columns, overview, (), names)
    return overview


if __name__ == "__main__":
    cli.main(run)
