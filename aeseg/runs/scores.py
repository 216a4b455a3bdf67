"""Scores and predictions of a run's network.

Training, `evaluate`, `predict`, tables and probes all score through these functions.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax.experimental import multihost_utils

from aeseg import images, keys
from aeseg.data import loader as loaders
from aeseg.data.transforms import CenterCrop
from aeseg.inference import evaluate as evaluation
from aeseg.inference.samples import PLANES, fingerprints, sampled
from aeseg.inference.sliding import Predict
from aeseg.inference.statistics import by_own_statistics
from aeseg.inference.windows import Inputs
from aeseg.runs.run import SCORES, Run
from aeseg.training import mesh as meshes
from aeseg.training import step
from aeseg.training.state import TrainState
from aeseg.types import UserError

Evaluate = Callable[[TrainState], dict[str, float]]
Forward = Callable[[Any, Mapping[str, np.ndarray]], Any]
"""A compiled function of variables and a batch."""


def forward(run: Run) -> Forward:
    """Return a compiled function of (variables, batch): the Means of an autoencoder, or the logits of a segmenter."""
    if run.segments:
        return on_local_devices(lambda variables, batch: logits(run.method, variables, step.prepare(batch)))
    return on_local_devices(lambda variables, batch: dict(run.method.apply(variables, step.prepare(batch), train=False)))  # type: ignore[arg-type]


def logits(method: nn.Module, variables: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
    """Return a segmenter's logits of a prepared batch: of its images, and of the other entries that the method reads."""
    if getattr(method, "reads", ()):
        return method.apply(variables, batch, method="predict_from")  # type: ignore[return-value]
    return method.apply(variables, batch["image"], method="predict")  # type: ignore[return-value]


def validation(run: Run, compiled: Forward | None = None) -> Evaluate:
    """Return a function from a state to the scores of the validation set; it compiles once, or uses `compiled`, an earlier `forward`.

    Autoencoders: every Mean over the set, divided once, without random keys.  Segmenters: SCORES, from one confusion matrix.
    """
    compiled = compiled or forward(run)
    if not run.segments:

        def numbers(state: TrainState) -> dict[str, float]:
            variables = host_copy(state.variables)
            scores = evaluation.autoencoder(
                lambda batch: compiled(variables, batch),
                windows(run, run.validation, run.batch_size),
                run.method.coefficients,
                summary=getattr(run.method, "summary", dict),
            )
            return {name: value for name, value in scores.items() if name != "images"}

        return numbers

    def scores_of(state: TrainState) -> dict[str, float]:
        variables = host_copy(state.variables)
        scores = segmentation(
            run,
            lambda inputs: np.asarray(compiled(variables, {"image": inputs} if isinstance(inputs, np.ndarray) else inputs)),
            run.validation,
            batch=run.batch_size // jax.process_count(),
        )
        return {name: scores[name] for name in SCORES}

    return scores_of


def segmentation(run: Run, predict: Predict, source: Any, **how: Any) -> dict[str, Any]:
    """Return the scores of a predictor over a source, with the run's transforms and window; for `how` see `evaluation`."""
    return evaluation.segmentation(
        predict,
        source,
        run.data.evaluation_transforms,
        tuple(run.window),  # type: ignore[arg-type]
        [name for name, _ in source.classes],
        **{"threads": run.data.threads, "largest": run.largest_window, "reads": getattr(run.method, "reads", ()), **how},
    )


def predictor(run: Run, method: nn.Module, variables: Any, samples: int = 0, batch_statistics: bool = False) -> Predict:
    """Return a function from images [b h w c] uint8, or inputs of several entries, to logits or to an autoencoder's output; it compiles
    once per shape.

    With `samples` a segmenter returns `samples.sampled`, drawn by the run's seed and each image's pixels; with `batch_statistics` it
    normalises by `statistics.by_own_statistics`.
    """

    def of_image(variables: Any, image: jax.Array, rngs: dict[str, jax.Array] | None = None) -> jax.Array:
        if batch_statistics:
            return by_own_statistics(method, variables, images.as_float(image), rngs)
        return method.apply(variables, images.as_float(image), rngs=rngs, method="predict")  # type: ignore[return-value]

    def apply(variables: Any, batch: Any) -> jax.Array:
        if samples:

            def drawn(key: jax.Array, image: jax.Array) -> jax.Array:
                return of_image(variables, image, {keys.MONTE_CARLO: key})

            return sampled(drawn, batch["image"], batch["index"], run.seed, samples)
        if run.segments:
            return of_image(variables, batch["image"]) if len(batch) == 1 else logits(method, variables, step.prepare(batch))
        shown: Any = method.apply(variables, step.prepare(batch), method="show")
        if "reconstruction" not in shown:
            raise UserError(
                f"Expected a method that shows a reconstruction; {type(method).__name__} shows {', '.join(shown)}. "
                "Name the --workdir of a segmentation run, or of such an autoencoder."
            )
        return shown["reconstruction"]

    compiled, placed = on_local_devices(apply), on_every_device(variables)

    def predict(inputs: Inputs) -> np.ndarray:
        if isinstance(inputs, np.ndarray):
            rows = {"index": fingerprints(inputs)} if samples else {}
            return np.asarray(compiled(placed, {"image": inputs, **rows}))
        if samples or batch_statistics:
            raise UserError(
                f"Samples and per-image statistics are of images alone; {type(method).__name__} also reads {', '.join(method.reads)}. "  # type: ignore[attr-defined]
                "Leave out --samples and --batch_statistics."
            )
        return np.asarray(compiled(placed, dict(inputs)))

    return predict


def scored(
    run: Run, method: nn.Module, variables: Any, source: Any, samples: int = 0, batch_statistics: bool = False, **how: Any
) -> dict[str, Any]:
    """Return the scores of a segmenter over a source; see `predictor`, and `evaluation.segmentation` for `how`."""
    predict = predictor(run, method, variables, samples, batch_statistics)
    return segmentation(run, predict, source, further=PLANES if samples else 0, **how)


def autoencoder(run: Run, variables: Any, source: Any, batch: int, seen: Callable[[int], None] = lambda images: None) -> dict[str, Any]:
    """Return each Mean of an autoencoder over the central windows of a source, the loss, and the number of images."""
    means = on_local_devices(lambda variables, batch: dict(run.method.apply(variables, step.prepare(batch), train=False)))  # type: ignore[arg-type]
    placed = on_every_device(variables)
    rows, summary = windows(run, source, batch), getattr(run.method, "summary", dict)
    return evaluation.autoencoder(lambda batch: means(placed, batch), rows, run.method.coefficients, seen, summary)


def shower(method: nn.Module) -> Callable[[Any, Any], Any]:
    """Return a compiled function from (variables, batch) to the method's columns of a picture."""
    return on_local_devices(lambda variables, batch: method.apply(variables, step.prepare(batch), method="show"))


def windows(run: Run, records: Any, batch_size: int) -> Any:
    """Return this process's padded batches of one pass over a source, each record cropped to the central window of the trained size.

    A batch needs one size, which the encoder's stride divides.  Segmenters are scored on complete images instead.
    """
    transforms = (*run.data.evaluation_transforms, CenterCrop(*run.window))
    return loaders.evaluation_batches(records, transforms, batch_size, jax.process_index(), jax.process_count())


def on_local_devices(function: Callable[[Any, Any], Any]) -> Callable[[Any, Mapping[str, np.ndarray]], Any]:
    """Compile `function(variables, batch)` for the devices of this process; rows are sharded over them if the numbers divide."""
    jitted = jax.jit(function)

    def call(variables: Any, batch: Mapping[str, np.ndarray]) -> Any:
        devices = jax.local_devices()
        if len(batch["image"]) % len(devices):
            devices = devices[:1]
        mesh = meshes.create(devices=devices)
        rows = jax.sharding.NamedSharding(mesh, meshes.ROWS)
        return jitted(jax.device_put(variables, meshes.replicated(mesh)), jax.device_put(dict(batch), rows))

    return call


def on_every_device(variables: Any) -> Any:
    """Return variables replicated over the devices of this process."""
    return jax.device_put(variables, meshes.replicated(meshes.create(devices=jax.local_devices())))


def host_copy(variables: Any) -> Any:
    """Return a copy of the variables for this process only, wherever their shards are."""
    if jax.process_count() == 1:
        return variables
    return multihost_utils.process_allgather(variables, tiled=True)
