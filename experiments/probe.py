"""Probe an encoder's frozen features on labelled images, without fine-tuning; write probe.json and a table.

python -m experiments.probe --init=runs/pretrain                       nearest neighbours of single patches
python -m experiments.probe --init=runs/pretrain --kind=logistic       logistic regression of single patches
python -m experiments.probe --init=runs/pretrain --kind=linear         batch norm and a 1x1 convolution, trained as DINOv2's
python -m experiments.probe                                            a random encoder, as the control
python -m experiments.probe --init=runs/pretrain --config=camvid:unet  labelled images of another config

The config gives the labelled images (all of `data`, `window`, `seed`, `batch_size`) and, without --init, the encoder.
"""

import itertools
import os
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from aeseg import images
from aeseg.data.colours import PhotometricJitter
from aeseg.data.transforms import HorizontalFlip, RandomCrop, RandomScale
from aeseg.inference import probes
from aeseg.inference.sliding import Predict
from aeseg.methods.segmenter import Segmenter
from aeseg.models.heads.linear import LinearHead
from aeseg.runs import evaluations, init, transfer
from aeseg.runs import scores as scoring
from aeseg.runs.data import SPLITS
from aeseg.runs.example import config_example
from aeseg.runs.run import Run
from aeseg.runs.train import frozen_averages
from aeseg.spec import build, spec
from aeseg.training import mesh as meshes
from aeseg.training import state as states
from aeseg.training import step
from aeseg.training.optimiser import adamw
from aeseg.training.state import TrainState
from aeseg.types import UserError, at_stride

from . import evaluate
from .console import cli
from .console.progress import Progress
from .machine import process
from .machine.provenance import provenance

KINDS = ("knn", "logistic", "linear")
WARMUP = 1_500 / 40_000
"""Warm-up of DINOv2's linear probe, as a fraction of its steps."""
AVERAGED = 200
"""Largest number of batches for the batch norm averages of a probe of patches."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    flags = cli.parse(
        argv,
        __doc__,
        config="segment",
        init=("", "encoder to probe: a workdir of `pretrain`, or a Hugging Face directory; default: a random encoder"),
        workdir=("", "folder of probe.json; default: the workdir of --init, or runs/probe"),
        kind=("knn", "knn, logistic or linear"),
        split=("test", "train, validation or test"),
        stride=(0, "stride of the features; 0: the encoder's coarsest"),
        patches=(20_000, "knn and logistic: largest number of labelled patches of the training images"),
        neighbours=(20, "knn: number of votes"),
        temperature=(0.07, "knn: votes weigh exp(cosine / temperature)"),
        strength=(1.0, "logistic: inverse of the regularisation, scikit-learn's C"),
        steps=(0, "linear: training steps; 0: the config's steps (DINOv2: 40,000)"),
    )
    if flags.kind not in KINDS:
        raise UserError(f"The probes are {', '.join(KINDS)}; got {flags.kind!r}. Set --kind to one of these.")
    if flags.split not in SPLITS:
        raise UserError(f"The splits are {', '.join(SPLITS)}; got {flags.split!r}. Set --split to one of these.")
    process.start()
    if jax.process_count() > 1:
        raise UserError(f"Expected one process; got {jax.process_count()}. Start the probe on one host.")
    began, config = time.perf_counter(), flags.config
    start = init.weights(config, flags.overrides, flags.init, "encoder") if flags.init else None
    for line in transfer.check_labels(config):
        print(line)
    stride = chosen_stride(config, flags.stride)
    prepare(config, stride, flags.steps)
    probed = build(config)
    probed.check()
    scored = probed.data.scored(flags.split)
    if len(scored.classes) != config.method.classes:
        raise UserError(
            f"Expected {config.method.classes} classes, as in the config; the data have {len(scored.classes)}. Set --config.method.classes."
        )
    state = states.create(probed.method, probed.optimiser, probed.first_row, probed.seed, False, probed.mesh)
    if start is not None:
        state, lines = start(state)
        print("\n".join(lines))
    read = () if flags.kind == "linear" else itertools.islice(scoring.windows(probed, probed.training, probed.batch_size), AVERAGED)
    state, lines = frozen_averages(probed, state, read)
    for line in lines:
        print(line)
    predict, settings = linear(probed, state) if flags.kind == "linear" else patchwise(probed, state, stride, flags)
    with Progress("evaluating", len(scored)) as progress:
        scores = scoring.segmentation(probed, predict, scored, batch=probed.batch_size, seen=lambda index, *_: progress.at(index + 1))
    workdir = flags.workdir or (flags.init if os.path.isdir(os.path.join(flags.init, "checkpoints")) else "runs/probe")
    os.makedirs(workdir, exist_ok=True)
    settings = {"stride": stride, "seed": config.seed, "statistics": config.statistics, **settings}
    entry = {**scores, "init": flags.init, "config": flags.config_name, **settings, **provenance()}
    path = evaluations.add(workdir, f"{flags.kind} {flags.split}", {**entry, "seconds": time.perf_counter() - began}, "probe.json")
    print("\n" + evaluate.table(scores))
    description = f"{flags.kind} on stride {stride} of {flags.init or 'a random encoder'}, {scores['images']:,} images of {flags.split}"
    print(f"\n{description}, {time.perf_counter() - began:.0f} s.\nnumbers     {path}", flush=True)
    return 0


def chosen_stride(config: ConfigDict, asked: int) -> int:
    """Return the requested stride; for 0, the encoder's coarsest."""
    encoder, row = build(config.method.encoder), config_example(config)

    def pyramid(image: jax.Array) -> Any:
        outputs = encoder.init_with_output(jax.random.key(0), image, train=False)[0]
        at_stride(outputs, asked or max(outputs), "The probe")
        return outputs

    strides = jax.eval_shape(pyramid, np.zeros(row["image"].shape, np.float32))
    return asked or max(strides)


def prepare(config: ConfigDict, stride: int, steps: int) -> None:
    """Set the config to DINOv2's linear probe (Oquab et al. 2023, arXiv 2304.07193, section 7.4): LinearHead on a frozen encoder.

    Follows the authors' released mmsegmentation config (dinov2_vit*_ade20k_linear_config.py): AdamW, learning rate 1e-3, weight decay
    1e-4, linear decay to 0 after a warm-up of 1,500 of 40,000 steps; images are scaled by 0.5 to 2, cropped to the window, flipped, and
    colour-jittered.  Deviations: the config's batch size and number of steps; crops regardless of their classes; every image gets all four
    colour changes (theirs: half of the images), with brightness as a factor; features of the last layer only.
    """
    with config.unlocked():
        if steps:
            config.steps = steps
        head = spec(LinearHead, classes=config.method.classes, stride=stride)
        config.method = spec(Segmenter, encoder=config.method.encoder, head=head, classes=config.method.classes, frozen_encoder=True)
        config.optimiser = spec(
            adamw,
            learning_rate=1e-3,
            steps=config.steps,
            warmup=max(1, round(WARMUP * config.steps)),
            schedule="polynomial",
            power=1.0,
            weight_decay=1e-4,
            no_decay=(),
            freeze=("encoder/*",),
        )
        height, width = config.window
        config.data.transforms = (
            spec(RandomScale),
            spec(RandomCrop, height=height, width=width),
            spec(HorizontalFlip),
            spec(PhotometricJitter, brightness=0.125, contrast=0.5, saturation=0.5, hue=0.05),
        )


def linear(run: Run, state: TrainState) -> tuple[Predict, dict[str, Any]]:
    """Train the head on augmented images with a frozen encoder; return the predictor and its settings."""
    advance = step.train_step(run.method, run.optimiser, run.mesh, run.microbatches, run.seed, ema=0.0)
    batches = run.batches(0)
    with Progress("training", run.steps) as progress:
        for number in range(run.steps):
            state, terms = advance(state, meshes.place(run.mesh, next(batches)))
            progress.at(number + 1)
    loss = float(terms["loss"].value())
    settings = {"steps": run.steps, "batch_size": run.batch_size, "loss": loss}
    return scoring.predictor(run, run.method, state.variables), settings


def patchwise(run: Run, state: TrainState, stride: int, flags: Any) -> tuple[Predict, dict[str, Any]]:
    """Fit a probe of patches to features of the central window of each training image."""
    encoder, classes = run.method.encoder, run.method.classes
    height, width = run.window
    variables = {name: leaves["encoder"] for name, leaves in state.variables.items() if "encoder" in leaves}

    def features(variables: Any, batch: Any) -> jax.Array:
        return encoder.apply(variables, images.as_float(batch["image"]), train=False)[stride]

    extract = scoring.on_local_devices(features)
    patches = probes.collect(
        scoring.windows(run, run.training, run.batch_size),
        lambda image: np.asarray(extract(variables, {"image": image}), np.float32),
        stride,
        classes,
        len(run.training),
        flags.patches,
        run.seed,
    )
    if patches.offered > len(patches.labels):
        print(f"Kept {len(patches.labels):,} of {patches.offered:,} labelled patches (--patches={flags.patches}).")
    if flags.kind == "knn":
        probe = probes.nearest(patches, classes, flags.neighbours, flags.temperature)
        settings = {"neighbours": flags.neighbours, "temperature": flags.temperature}
    else:
        probe, settings = probes.logistic(patches, classes, flags.strength), {"strength": flags.strength}

    def scores(variables: Any, batch: Any) -> jax.Array:
        return images.resize(probe(features(variables, batch)), height, width)

    predict = scoring.on_local_devices(scores)
    settings |= {"patches": len(patches.labels), "patches_offered": patches.offered}
    return lambda image: np.asarray(predict(variables, {"image": image})), settings


if __name__ == "__main__":
    cli.main(run)
