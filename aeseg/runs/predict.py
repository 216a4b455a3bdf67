"""Predict an image from Python, with the network of a workdir."""

import functools
from collections.abc import Mapping

import numpy as np
from jaxtyping import Int, UInt8, UInt16

from aeseg.inference.sliding import Predict, sliding_logits
from aeseg.inference.views import resized, softmax
from aeseg.runs import inputs, scores
from aeseg.runs.workdir import Trained, load_trained
from aeseg.types import UserError


def predict(
    workdir: str,
    image: UInt8[np.ndarray, "h w c"] | UInt16[np.ndarray, "h w c"],
    step: int = -1,
    beside: Mapping[str, np.ndarray] | None = None,
) -> Int[np.ndarray, "h w"]:
    """Predict the class of each pixel of an image of any size, by the newest checkpoint of a segmentation run, or of `step`.

    The run's window slides over the image as in `evaluate`.  If the run resizes the images that it scores, this image is also resized,
    and its probabilities are resized back bilinearly.  The network is loaded and compiled once per workdir.

    beside   the other modalities that the network reads, as the run's records have them, such as {"thermal": [h w]}; others are missing
    """
    trained, network = _loaded(workdir, step)
    run = trained.run
    seen = inputs.of_image(run, image, beside)
    logits = sliding_logits(network, seen, run.window, batch=run.batch_size, largest=run.largest_window)
    if logits.shape[:2] != image.shape[:2]:
        logits = resized(softmax(logits), image.shape[:2])
    return np.argmax(logits, axis=-1)


@functools.lru_cache(maxsize=4)
def _loaded(workdir: str, step: int) -> tuple[Trained, Predict]:
    trained = load_trained(workdir, step)
    if not trained.run.segments:
        raise UserError(f"Expected a segmentation run; {workdir} holds an autoencoder. Name the workdir of `segment`.")
    return trained, scores.predictor(trained.run, trained.method, trained.variables)
