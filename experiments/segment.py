"""Train a segmentation model, from a pretrained encoder or from scratch.

python -m experiments.segment --init=runs/pretrain                              fine-tune what `pretrain` has learned
python -m experiments.segment --init=runs/pretrain --config.freeze=linear-probe  the encoder stays as it is
python -m experiments.segment --init=runs/pretrain --config.freeze=scratch       its architecture alone: the control
python -m experiments.segment --init=runs/segment --config.freeze=continue       a segmenter whole, with a fresh optimiser: a second stage
python -m experiments.segment --init=vit-mae-base                               a directory of Hugging Face: config.json, model.safetensors
python -m experiments.segment --config=camvid_small:unet                         another config file, from scratch
"""

from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from aeseg import objectives
from aeseg.data import wrappers
from aeseg.data.sources.folder import SEGNET_WEIGHTS
from aeseg.types import UserError
from experiments import assembly, cli, init, job, process

FREEZE = ("fine-tune", "linear-probe", "scratch", "continue")
CHECKED = 5_000
"""Labels of at most so many records are read before training; in larger sets a label out of range is found on its way."""


def run(argv: Sequence[str]) -> int:
    """The entry point; returns the exit code."""
    flags = cli.parse(
        argv,
        __doc__,
        config="segment",
        workdir=("", "where the run lives; default runs/<config>"),
        init=(
            "",
            "whose encoder, or with freeze=continue all, to start from: a workdir (or its checkpoints folder), or a Hugging Face directory",
        ),
    )
    process.start()
    config = flags.config
    taken = "all" if config.freeze == "continue" else "encoder"
    weights = init.weights(config, flags.overrides, flags.init, taken) if flags.init else None
    weights = freeze(config, weights)
    weigh_classes(config)
    parts = assembly.assemble(config)
    workdir = flags.workdir or f"runs/{cli.run_name(flags.config_name)}"
    next_command = f"{process.launcher()}evaluate --workdir={workdir} --split=test"
    job.train(parts, workdir, job.score_segmentation(parts), weights, next_command)
    return 0


def freeze(config: ConfigDict, weights: job.Init | None) -> job.Init | None:
    """Set the config up for its `freeze`, which is one of FREEZE; returns the weights to start from."""
    if config.freeze not in FREEZE:
        raise UserError(f"freeze must be one of {', '.join(FREEZE)}; got {config.freeze!r}. Set --config.freeze.")
    if config.freeze == "scratch":
        return None
    if config.freeze == "continue" and weights is None:
        raise UserError("To continue there must be a trained segmenter, and there is none. Name one with --init=<workdir of `segment`>.")
    if config.freeze == "linear-probe":
        if weights is None:
            raise UserError("A linear probe reads a pretrained encoder, and there is none. Name one with --init=<workdir>.")
        config.method.frozen_encoder = True
        config.optimiser.freeze = ("encoder/*",)
    return weights


def weigh_classes(config: ConfigDict) -> None:
    """Check the training labels' range, and put the class weights that `class_weights` names into the method."""
    rules = {"median_frequency": objectives.median_frequency, "inverse_square_root": objectives.inverse_square_root}
    if config.class_weights not in ("none", "segnet", *rules):
        raise UserError(f"class_weights must be one of none, segnet, {', '.join(rules)}; got {config.class_weights!r}.")
    train = assembly.source(config.data.train, config.data, config.data.fraction, config.seed)
    if len(train.classes) != config.method.classes:
        raise UserError(
            f"The model has {config.method.classes} classes; the training data have {len(train.classes)}: "
            f"{', '.join(name for name, _ in train.classes) or 'no labels'}. Set --config.method.classes, or the data's class_table."
        )
    if config.class_weights == "none" and len(train) > CHECKED:
        return
    counts, present = wrappers.class_counts(train, train.classes)
    if config.class_weights == "segnet":
        names = [name for name, _ in train.classes]
        if names != list(SEGNET_WEIGHTS):
            raise UserError(
                f"The weights published with SegNet are of CamVid's classes, {', '.join(SEGNET_WEIGHTS)}; the data have {names}."
            )
        config.method.class_weights = tuple(SEGNET_WEIGHTS.values())
    elif config.class_weights != "none":
        config.method.class_weights = tuple(round(float(w), 6) for w in rules[config.class_weights](counts, present))
    if not np.any(counts):
        raise UserError("Expected labels; every pixel of the training labels is ignored. Check the class table and the ignore ids.")


if __name__ == "__main__":
    cli.main(run)
