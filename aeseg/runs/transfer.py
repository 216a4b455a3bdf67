"""Start of a segmenter: pretrained weights, frozen parts, and class weights."""

import numpy as np
from ml_collections import ConfigDict

from aeseg import objectives, spec
from aeseg.data import wrappers
from aeseg.data.sources.folder import SEGNET_WEIGHTS
from aeseg.runs.run import TRANSFERS, freezes_encoder
from aeseg.runs.train import Init
from aeseg.types import UserError

CHECKED = 5_000
"""Largest number of records whose labels are read before training; larger sets raise for a label out of range during training."""


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
        raise UserError("A decoder is taken from an autoencoder, and there is none. Name one with --init=<workdir of `pretrain`>.")
    if config.transfer == "continue" and weights is None:
        raise UserError("To continue there must be a trained segmenter, and there is none. Name one with --init=<workdir of `segment`>.")
    if config.transfer == "linear-probe":
        if weights is None:
            raise UserError("A linear probe reads a pretrained encoder, and there is none. Name one with --init=<workdir>.")
        config.method.frozen_encoder = True
        config.optimiser.freeze = ("encoder/*", *(("adapters_*",) if "modalities" in config.method else ()))
    return weights


def taken(transfer: str) -> str:
    """Return the argument `taken` of `init.weights` for a transfer."""
    return {"continue": "all", "fine-tune-decoder": "decoder"}.get(transfer, "encoder")


def train_positions(config: ConfigDict, encoder: ConfigDict) -> bool:
    """Make a described encoder's fixed positions parameters for the run's window, if the run asks for it; return whether they are."""
    trained = config.position_tables == "trained" and encoder.get("positions") == "fixed"
    if trained and not any(side % encoder.patch for side in config.window):
        encoder.positions, encoder.grid = "trained", tuple(side // encoder.patch for side in config.window)
        return True
    return False


def weigh_classes(config: ConfigDict) -> None:
    """Check the training labels' range, and set the method's class weights from `class_weights`."""
    rules = {"median_frequency": objectives.median_frequency, "inverse_square_root": objectives.inverse_square_root}
    if config.class_weights not in ("none", "segnet", *rules):
        raise UserError(f"class_weights must be one of none, segnet, {', '.join(rules)}; got {config.class_weights!r}.")
    labelled = spec.build(config.data).training(config.seed)
    if len(labelled.classes) != config.method.classes:
        raise UserError(
            f"The model has {config.method.classes} classes; the training data have {len(labelled.classes)}: "
            f"{', '.join(name for name, _ in labelled.classes) or 'no labels'}. Set --config.method.classes, or the data's class_table."
        )
    if config.class_weights == "none" and len(labelled) > CHECKED:
        return
    counts, present = wrappers.class_counts(labelled, labelled.classes)
    if config.class_weights == "segnet":
        names = [name for name, _ in labelled.classes]
        if names != list(SEGNET_WEIGHTS):
            raise UserError(
                f"The weights published with SegNet are of CamVid's classes, {', '.join(SEGNET_WEIGHTS)}; the data have {names}."
            )
        config.method.class_weights = tuple(SEGNET_WEIGHTS.values())
    elif config.class_weights != "none":
        config.method.class_weights = tuple(round(float(w), 6) for w in rules[config.class_weights](counts, present))
    if not np.any(counts):
        raise UserError("Expected labels; every pixel of the training labels is ignored. Check the class table and the ignore ids.")
