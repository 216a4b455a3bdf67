"""From a config to built parts, and from a workdir to the method that was trained there."""

import dataclasses
import os
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from aeseg import spec, tree
from aeseg.data import loader as loaders
from aeseg.data import narration, wrappers
from aeseg.spec import build
from aeseg.training import checkpoints as saved
from aeseg.training import mesh as meshes
from aeseg.training import state as states
from aeseg.types import Class, UserError
from experiments import cli, jsonlines

DTYPES = ("float32", "bfloat16", "float16")
"""What activations may be."""


SCORES = ("mean_iou", "pixel_accuracy", "class_accuracy", "mean_dice")
"""What a segmenter is scored by while it trains."""

LARGER_IS_BETTER = (*SCORES, "psnr", "ssim")
"""The metrics of which the largest is the best; all others are losses and errors."""


class Trained(NamedTuple):
    """What a workdir holds: its config, the method, its variables (NumPy), and the step they are of."""

    config: ConfigDict
    method: nn.Module
    variables: dict[str, Any]
    step: int


@dataclasses.dataclass(frozen=True)
class Job:
    """The built parts of one config."""

    config: ConfigDict
    method: nn.Module
    mesh: jax.sharding.Mesh
    train: Any
    validation: Any
    transforms: tuple[Any, ...]
    loader: loaders.Loader

    @property
    def classes(self) -> tuple[Class, ...]:
        """The classes of the data set; () for images alone."""
        return self.validation.classes


def source(node: ConfigDict, data: ConfigDict, labelled: float = 1.0, seed: int = 0) -> Any:
    """The source that a config describes: unreadable records passed over where asked, a share of it, cached in memory."""
    found = build(node)
    if len(found) == 0:
        raise UserError(
            f"Expected records; {node.target.split(':')[-1]} of split {node.get('split', '?')!r} has none. Name another split or folder."
        )
    if data.on_error not in ("raise", "skip"):
        raise UserError(f"on_error must be 'raise' or 'skip'; got {data.on_error!r}. Set --config.data.on_error.")
    if data.on_error == "skip":
        found = wrappers.Tolerant(found)
    if labelled < 1:
        found = wrappers.Subset(found, labelled, seed)
    return wrappers.Cached(found, data.cache_gib) if data.cache_gib > 0 else found


def scored_source(data: ConfigDict, split: str) -> Any:
    """The source of a split that is scored: each record once, unreadable ones left out where `on_error` is skip."""
    found = source(data[split], ConfigDict({"on_error": "raise", "cache_gib": data.cache_gib}))
    return wrappers.Readable(found) if data.on_error == "skip" else found


def assemble(config: ConfigDict) -> Job:
    """Build the parts and trace them once with shapes alone: what does not fit is said before anything is computed."""
    check(config)
    mesh = meshes.create(config.fsdp)
    meshes.check_batch(mesh, config.batch_size, config.microbatches)
    train = source(config.data.train, config.data, config.data.fraction, config.seed)
    validation = scored_source(config.data, "validation")
    loader = loaders.Loader(
        train,
        build(config.data.transforms),
        config.batch_size,
        config.seed,
        threads=config.data.threads,
        workers=config.data.workers,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    job = Job(config, build(config.method), mesh, train, validation, build(config.data.evaluation_transforms), loader)
    states.shapes(job.method, build(config.optimiser), loader[0], config.seed, config.ema > 0)
    return job


def check(config: ConfigDict) -> None:
    """Raise UserError for numbers that no run can have."""
    for name in ("steps", "microbatches", "log_every", "evaluate_every", "save_every", "keep"):
        if config[name] < 1:
            raise UserError(f"{name} must be at least 1; got {config[name]}. Set --config.{name}.")
    if len(config.window) != 2 or min(config.window) < 1:
        raise UserError(f"window is the height and width that the network is trained at; got {config.window}. Set --config.window=(h,w).")
    if not 0 < config.data.fraction <= 1:
        raise UserError(
            f"fraction is the share of the training records, above 0 and at most 1; got {config.data.fraction}. Set --config.data.fraction."
        )
    if not 0 <= config.ema < 1:
        raise UserError(f"ema is the decay of the running mean, from 0 (none) to below 1; got {config.ema}. Set --config.ema.")
    for path, dtype in tree.flatten(spec.plain(config.method)).items():
        field = "config.method." + path.replace("/", ".")
        if field.endswith(".dtype") and dtype not in DTYPES:
            raise UserError(f"A dtype is one of {', '.join(DTYPES)}; {field} is {dtype!r}. Set --{field}.")


def load_trained(workdir: str, step: int = -1) -> Trained:
    """The newest checkpoint of a run (or that of one step), and the method that fits it."""
    config = cli.stored_config(workdir)
    if "target" not in config.method:
        raise UserError(f"{workdir} holds an encoder alone, as `convert` left it. Train a head on it: segment --init={workdir}.")
    method = build(config.method)
    found, variables = saved.load_variables(os.path.join(workdir, "checkpoints"), step)
    shapes = jax.eval_shape(lambda: dict(method.init(jax.random.key(0), states.example(one_row(config)), train=False)))
    saved.check_fit(shapes, variables, f"{workdir}/config.json describes another model than the one saved there. Restore the file.")
    return Trained(config, method, variables, found)


def validated(workdir: str, metric: str) -> dict[int, float | None]:
    """A metric of the validation set by step, from a run's metrics.jsonl; None where it was not finite."""
    name = f"validation/{metric}"
    return {row["step"]: row[name] for row in jsonlines.read(os.path.join(workdir, "metrics.jsonl")) if name in row}


def best_step(workdir: str) -> int:
    """The saved step that was best on validation, by what the run's config calls `best`; of equals the first."""
    metric, kept = cli.stored_config(workdir).best, saved.saved_steps(os.path.join(workdir, "checkpoints"))
    values = {step: value for step, value in validated(workdir, metric).items() if step in kept and value is not None}
    if not values:
        raise UserError(
            f"Expected {metric!r} of the validation set at a saved step of {workdir}, by which to choose the best; there is none. "
            "Name a step with --step, or leave --best out for the newest."
        )
    return (max if metric in LARGER_IS_BETTER else min)(values, key=values.__getitem__)


def one_row(config: ConfigDict) -> dict[str, Any]:
    """A row of zeros as large as the network is trained at, with everything that a method may read."""
    h, w = config.window
    channels = config.method.get("decoder", {}).get("channels", config.data.train.get("channels", 3))
    row = {"image": np.zeros((1, h, w, channels), np.uint8), "label": np.zeros((1, h, w), np.int32)}
    beside = {"caption": np.zeros((1, narration.CAPTION), np.uint8), "sound": np.zeros((1, narration.RATE, 2), np.float32)}
    return {**row, "depth": np.zeros((1, h, w), np.float32), **beside}
