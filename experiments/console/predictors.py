"""Flags that `evaluate` and `predict` share: they select a checkpoint and how it predicts."""

import math
from typing import Any

from aeseg.data.inspection import description
from aeseg.inference.windows import two_thirds, weight
from aeseg.runs import own_data, workdir
from aeseg.types import UserError

FLAGS = {
    "workdir": ("", "folder of the run, with config.json and checkpoints/"),
    "step": (-1, "step of the checkpoint; -1: the newest"),
    "best": (False, "use the best checkpoint on validation"),
    "stride": ("", "pixels from one sliding window to the next, such as 32, or 32,64 (down, right); default: two thirds of the window"),
    "largest": (-1, "largest number of pixels of a sliding window; 0: the trained window, -1: the run's default"),
    "weights": ("uniform", "weights of pixels in a sliding window: uniform or gaussian"),
    "scales": ("1", "scales of the image to average probabilities over, such as 0.75,1,1.25"),
    "flip": (False, "average probabilities over the image and its mirror image"),
    "samples": (0, "number of networks to sample by dropout and average, with a map of their uncertainty; Bayesian SegNet: 40"),
    "batch_statistics": (False, "use batch norm statistics of each image or window instead of running averages"),
}
"""Flags that select a network and how it predicts.  Both commands share the defaults, so `evaluate` scores what `predict` writes."""

ONE_VIEW = {"scales": (1.0,), "flip": False}
"""Views of the default flags: each image as it is."""

DATA = {
    "root": ("", "new location of the run's images, if they were moved"),
    "data": ("", "data description that `inspect` wrote, whose images are scored"),
}
"""Flags that select other images to score, or their new location."""


def chosen_data(flags: Any, trained: workdir.Trained) -> workdir.Trained:
    """Return the trained network with the images that the flags select."""
    return own_data.elsewhere(trained, flags.root, description.read(flags.data) if flags.data else None)


def chosen_step(flags: Any, path: str = "") -> int:
    """Return the step of the checkpoint of --workdir, or of the workdir `path`, that the flags select; -1 is the newest."""
    if flags.best and flags.step != -1:
        raise UserError(f"--best and --step={flags.step} each select a checkpoint. Leave one of them out.")
    return workdir.best_step(path or flags.workdir) if flags.best else flags.step


def chosen_windows(flags: Any, window: tuple[int, int], slides: bool = True, largest: int = 0) -> dict[str, Any]:
    """Return {"stride": (down, right), "weights": ..., "largest": ...} of the flags; only sliding windows of this size may have flags."""
    if not slides and (flags.stride or flags.weights != FLAGS["weights"][0]):
        raise UserError("An autoencoder is scored on the central window of each image, without sliding. Leave out --stride and --weights.")
    if flags.largest < -1:
        raise UserError(f"Expected a number of pixels, or 0 for the trained window; got --largest={flags.largest}. Set --largest=1048576.")
    weight(window, flags.weights)
    further = {"weights": flags.weights, "largest": largest if flags.largest == -1 else flags.largest}
    if not flags.stride:
        return {"stride": two_thirds(window), **further}
    try:
        steps = tuple(int(step) for step in flags.stride.split(","))
    except ValueError:
        steps = ()
    stride = steps * 2 if len(steps) == 1 else steps
    if len(stride) != 2 or not all(1 <= step <= size for step, size in zip(stride, window, strict=True)):
        (h, w), (down, right) = window, two_thirds(window)
        raise UserError(
            f"A stride is one whole number or two (down, right), at least 1 and at most the window's {h},{w}; got "
            f"--stride={flags.stride}. Set --stride={down},{right}, the default, or leave it out."
        )
    return {"stride": stride, **further}


def chosen_views(flags: Any, averages: bool) -> dict[str, Any]:
    """Return {"scales": ..., "flip": ...} of the flags; several views need a model that `averages` probabilities."""
    try:
        scales = tuple(float(scale) for scale in flags.scales.split(","))
    except ValueError:
        scales = ()
    if not scales or not all(0 < scale < math.inf for scale in scales):
        raise UserError(f"Expected numbers above 0 between commas; got --scales={flags.scales!r}. Set --scales=0.75,1,1.25.")
    if not averages and (flags.flip or scales != (1,)):
        raise UserError(
            "Only a segmenter's probabilities are averaged over views; this run is an autoencoder. Leave out --flip and --scales."
        )
    return {"scales": scales, "flip": flags.flip}


def chosen_samples(flags: Any, averages: bool) -> int:
    """Return the number of networks to sample by dropout, or 0; samples need a model that `averages` probabilities."""
    if flags.samples < 0 or flags.samples == 1:
        raise UserError(f"Expected 0 samples (none), or at least 2; got --samples={flags.samples}. Set --samples=40.")
    if flags.samples and not averages:
        raise UserError("Only a segmenter's probabilities are sampled; this run is an autoencoder. Leave out --samples.")
    return flags.samples


def chosen_statistics(flags: Any, normalises: bool) -> bool:
    """Return whether batch norm uses per-image statistics; this needs a model that `normalises` by them."""
    if flags.batch_statistics and not normalises:
        raise UserError(
            "Only a segmenter supports batch norm statistics of each image; this run is an autoencoder. Leave out --batch_statistics."
        )
    return flags.batch_statistics
