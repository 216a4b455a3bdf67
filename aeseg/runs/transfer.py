"""Start of a segmenter: pretrained weights, frozen parts, checked labels, and class weights."""

import math
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from aeseg import objectives, spec
from aeseg.data import checks
from aeseg.data.published import SEGNET_WEIGHTS
from aeseg.runs.run import TRANSFERS, freezes_encoder
from aeseg.runs.train import Init
from aeseg.types import UserError

RULES = {"median_frequency": objectives.median_frequency, "inverse_square_root": objectives.inverse_square_root}
"""Class weights that depend on the training labels."""

FLAG = "--config.data.strict=False"
"""Flag that turns the checks of labels into warnings."""


def chosen(config: ConfigDict, weights: Init | None) -> Init | None:
    """Set the config's fields for its `transfer`; return the initial weights."""
    if config.transfer not in TRANSFERS:
        raise UserError(f"transfer must be one of {', '.join(TRANSFERS)}; got {config.transfer!r}. Set --config.transfer.")
    if config.transfer != "continue":
        train_positions(config, config.method.encoder)
    if config.statistics == "re-estimated" and freezes_encoder(config):
        config.method.frozen_encoder = True
    if config.transfer == "scratch":
        return None
    if config.transfer == "fine-tune-decoder" and weights is None:
        raise UserError("transfer=fine-tune-decoder needs an autoencoder with a decoder; got none. Set --init=<workdir of `pretrain`>.")
    if config.transfer == "continue" and weights is None:
        raise UserError("transfer=continue needs a trained segmenter; got none. Set --init=<workdir of `segment`>.")
    if config.transfer == "linear-probe":
        if weights is None:
            raise UserError("transfer=linear-probe needs a pretrained encoder; got none. Set --init=<workdir>.")
        config.method.frozen_encoder = True
        config.optimiser.freeze = ("encoder/*", *(("adapters_*",) if "modalities" in config.method else ()))
    return weights


def taken(transfer: str) -> str:
    """Return the argument `taken` of `init.weights` for a transfer."""
    return {"continue": "all", "fine-tune-decoder": "decoder"}.get(transfer, "encoder")


def train_positions(config: ConfigDict, encoder: ConfigDict) -> bool:
    """Make the fixed positions of an encoder's config parameters of the run's grid, if the run trains them; return whether it did."""
    trained = config.position_tables == "trained" and encoder.get("positions") == "fixed"
    if trained and not any(side % encoder.patch for side in config.window):
        encoder.positions, encoder.grid = "trained", tuple(side // encoder.patch for side in config.window)
        return True
    return False


def check_labels(config: ConfigDict) -> list[str]:
    """Read the labels of training and validation: check them, and set the method's class weights; return lines to print.

    Reads each label at most once, and all labels if the class weights depend on them.  Counts a drawn fraction of the training labels
    separately.
    """
    if config.class_weights not in ("none", "segnet", *RULES):
        raise UserError(f"class_weights must be one of none, segnet, {', '.join(RULES)}; got {config.class_weights!r}.")
    data = spec.build(config.data)
    sources = {split: data.records(split) for split in ("train", "validation")}
    names = [name for name, _ in sources["train"].classes]
    if len(names) != config.method.classes:
        raise UserError(
            f"The model has {config.method.classes} classes; the training data have {len(names)}: "
            f"{', '.join(names) or 'no labels'}. Set --config.method.classes, or the data's class_table."
        )
    counted, drawn = config.class_weights in RULES, data.fraction < 1
    limit = math.inf if counted else checks.LIMIT_SECONDS
    counts = checks.counted(sources, limit)
    lines = checks.check_labels(sources, counts, data.strict, FLAG)
    if drawn or (counted and (data.on_error == "skip" or "train" not in counts)):
        counts["train"] = checks.count(data.training(config.seed), len(names), limit)
    learned = counts.get("train")
    if learned and learned.all_read and not np.any(learned.pixels):
        raise UserError("Expected labels; every pixel of the training labels is ignored. Check the class table and the ignore ids.")
    if config.class_weights == "segnet":
        config.method.class_weights = published_weights(names)
    elif counted and learned:
        weights = RULES[config.class_weights](learned.pixels, learned.presence)
        config.method.class_weights = tuple(round(float(weight), 6) for weight in weights)
    return lines


def published_weights(names: Sequence[str]) -> tuple[float, ...]:
    """Return the class weights published with SegNet; UserError if the classes are not CamVid's."""
    if list(names) != list(SEGNET_WEIGHTS):
        raise UserError(
            f"The class weights published with SegNet are for CamVid's classes, {', '.join(SEGNET_WEIGHTS)}; the data have {names}."
        )
    return tuple(SEGNET_WEIGHTS.values())
