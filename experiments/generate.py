"""Draw images from a trained generative model, and measure how like the training images they are.

python -m experiments.generate --workdir=runs/scenes-variational                 64 images, a grid, interpolations, nearest training images
python -m experiments.generate --workdir=runs/scenes-maskgit --steps=12 --temperature=6   more steps; more varied codes
python -m experiments.generate --workdir=runs/scenes-maskgit --features=runs/pretrain     distances in the features of another encoder
python -m experiments.generate --workdir=runs/folder-maskgit --features=dinov2-small --number=1000      public weights, more images

Methods: variational (decodes draws of its prior; --temperature is their standard deviation) and maskgit (decodes codes in --steps steps;
--temperature is the noise in the choice of codes to keep).

Below --output: samples/<number>.png, samples.png (a grid), interpolations.png, nearest.png (the images most like a training image, beside
it), generated.json.  Of each image it holds the nearest training image, by pixels (root mean square, in grey levels of 255) and by features
(Euclidean), mirrored ones included if training mirrors.  Held-out images have such distances, too: samples that are much nearer are
memorised.  The Fréchet distance of samples to one half of the held-out images stands beside its floor, the distance of the two halves,
with equal numbers of images; smaller is better, and numbers of images and encoders differ in scale.
"""

import contextlib
import datetime
import json
import os
import time
from collections.abc import Sequence
from typing import Any

import jax

from aeseg import files
from aeseg.data.files import shown
from aeseg.runs import features as encoders
from aeseg.runs import workdir as workdirs
from aeseg.runs.data import SPLITS
from aeseg.types import UserError

from .console import cli, predictors
from .generating import compared, drawn, pictures, results
from .machine import process
from .machine.provenance import provenance
from .recorded import measurements

FILE = "generated.json"
LARGEST = 10_000
"""Largest number of images: their names have four digits."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    flags = cli.parse(
        argv,
        __doc__,
        workdir=("", "workdir of a run of variational or maskgit"),
        output=("", "folder of the results; default: generated, in the workdir"),
        number=(64, "number of images to draw"),
        seed=(0, "seed of the images; image i depends only on the seed and i"),
        temperature=(-1.0, "0 or more; default: 1 of variational, 4.5 of maskgit"),
        steps=(0, "maskgit: decoding steps; 0: 8"),
        pairs=(6, "number of pairs of held-out images to interpolate between"),
        features=("", "encoder of the distances: a workdir, or a directory of public weights; default: the run's own"),
        split=("test", "held-out split: validation or test"),
        batch=(0, "images per call; 0: the run's batch size"),
        best=(False, "use the best checkpoint on validation instead of the newest"),
        step=(-1, "use the checkpoint of this step; -1: the newest"),
        **predictors.DATA,
        record=(False, "append the numbers to experiments/results/generate.jsonl"),
    )
    check(flags)
    process.start()
    began = time.perf_counter()
    trained = predictors.chosen_data(flags, workdirs.load_trained(flags.workdir, predictors.chosen_step(flags)))
    options = chosen_options(flags, trained.method)
    output = flags.output or os.path.join(flags.workdir, "generated")
    earlier = claimed(output)
    batch = flags.batch or trained.run.batch_size
    extract = encoders.pooled(encoders.encoder_of(flags.features or flags.workdir))
    real = compared.halves(trained.run, flags.split, flags.number, batch)
    generator = drawn.Generator(trained, real[0][:1], options, flags.seed, batch)
    samples = generator.samples(flags.number)
    numbers, found = compared.measured(trained.run, samples, real, extract, batch)
    pairs = min(flags.pairs, len(real[0]) // 2)
    pictures.write(output, samples, (real[0][:pairs], real[0][pairs : 2 * pairs]), generator.between(real[0], pairs), found)
    entry = {
        "workdir": os.path.basename(os.path.normpath(flags.workdir)),
        "method": type(trained.method).__name__,
        "step": trained.step,
        "number": flags.number,
        "seed": flags.seed,
        **options,
        "split": flags.split,
        "features": os.path.basename(os.path.normpath(flags.features)) if flags.features else "own encoder",
        **numbers,
        "seconds": round(time.perf_counter() - began, 1),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **provenance(),
    }
    files.write(os.path.join(output, FILE), json.dumps({**entry, "samples": compared.per_sample(found)}, indent=1) + "\n")
    for number in range(flags.number, earlier):
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(output, "samples", f"{number:04}.png"))
    if flags.record:
        measurements.append(results.RESULTS, entry)
    print("\n" + table(entry))
    print(f"\n{flags.number} images in {entry['seconds']:.0f} s.")
    print(f"pictures    {os.path.join(output, 'samples.png')}\nnumbers     {os.path.join(output, FILE)}")
    if not flags.output:
        print(f"page        {process.launcher()}report {flags.workdir}", flush=True)
    return 0


def check(flags: Any) -> None:
    """Raise UserError for flags that no run allows."""
    if not flags.workdir:
        raise UserError("Expected the workdir of a run of variational or maskgit; got none. Set --workdir=runs/<name>.")
    if not 2 <= flags.number <= LARGEST:
        raise UserError(f"Expected a number of images from 2 to {LARGEST:,}; got {flags.number}. Set --number=64.")
    if flags.split not in SPLITS[1:]:
        raise UserError(f"The held-out splits are {', '.join(SPLITS[1:])}; got {flags.split!r}. Set --split to one of these.")
    if flags.temperature < 0 and flags.temperature != -1:
        raise UserError(f"Expected a temperature of 0 or more; got {flags.temperature:g}. Set --temperature, or leave it out.")
    for name in ("steps", "pairs", "batch", "seed"):
        if getattr(flags, name) < 0:
            raise UserError(f"Expected {name} of 0 or more; got {getattr(flags, name)}. Set --{name}, or leave it out.")
    if jax.process_count() > 1:
        raise UserError(f"Expected one process; got {jax.process_count()}. Start the command on one host.")


def chosen_options(flags: Any, method: Any) -> dict[str, Any]:
    """Return the method's options of sampling, with those of the flags; UserError if the method draws no images or lacks an option."""
    kind = type(method).__name__
    if not hasattr(method, "sample"):
        remedy = (
            f"Train a prior over its codes: pretrain --config=scenes:maskgit --init={flags.workdir}."
            if hasattr(method, "decode")
            else "Pretrain one: pretrain --config=scenes:variational."
        )
        raise UserError(f"Expected a run of variational or maskgit; {flags.workdir} trains {kind}, which draws no images. {remedy}")
    given = {"temperature": flags.temperature if flags.temperature >= 0 else None, "steps": flags.steps or None}
    chosen = {name: value for name, value in given.items() if value is not None}
    for name in chosen.keys() - method.sampling.keys():
        raise UserError(f"{kind} draws in one step; got --{name}={chosen[name]}. Leave out --{name}.")
    return {**method.sampling, **chosen}


def claimed(output: str) -> int:
    """Return the number of images of an earlier run in `output`; UserError if the folder holds something else."""
    path = os.path.join(output, FILE)
    if os.path.isdir(output) and os.listdir(output) and not os.path.isfile(path):
        raise UserError(f"{shown(output)} exists and holds no results of generate, so it is not written to. Set another --output.")
    number = files.json_object(path).get("number", 0)
    files.write(path, json.dumps({"number": number}) + "\n")
    return min(number, LARGEST) if isinstance(number, int) else 0


def table(entry: dict[str, Any]) -> str:
    """Format the numbers: distances of the samples beside those of held-out images."""
    frechet, nearest = entry["frechet"], entry["nearest"]
    lines = [f"{'':<34}{'samples':>10}{'held-out':>10}"]
    lines.append(f"{'Fréchet distance to the other half':<34}{frechet['samples']:>10.4g}{frechet['floor']:>10.4g}")
    for measure, one in nearest.items():
        lines.append(f"{f'nearest training image, {measure}':<34}{one['samples']:>10.4g}{one['held_out']:>10.4g}")
        lines.append(f"{'  closer than 5 % of held-out':<34}{100 * one['closer']:>8.1f} %{5:>8.1f} %")
    lines.append(f"\nFréchet: {frechet['images']} images each, {frechet['numbers']} numbers of {entry['features']}. Nearest: medians.")
    if frechet["images"] <= frechet["numbers"]:
        lines.append(
            "The images are fewer than the numbers, so the covariances are singular: compare only with held-out, or raise --number."
        )
    return "\n".join(lines)


if __name__ == "__main__":
    cli.main(run)
