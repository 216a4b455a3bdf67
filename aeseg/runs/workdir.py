"""The workdir of a run: its config, and its trained network."""

import os
from typing import Any, NamedTuple

import jax
from flax import linen as nn
from ml_collections import ConfigDict

from aeseg import files, jsonlines, spec
from aeseg.data import files as data_files
from aeseg.runs.data import SPLITS, split_config
from aeseg.runs.run import LARGER_IS_BETTER, Run, freezes_encoder, is_segmenter
from aeseg.training import checkpoints as saved
from aeseg.training import state as states
from aeseg.training.stored import saved_steps
from aeseg.types import UserError

MAY_CHANGE = ("log_every", "keep", "next", "data.threads", "data.workers", "data.cache_gib", "data.strict")
"""Fields that may differ between runs in the same workdir: they do not affect results."""


class Trained(NamedTuple):
    """The contents of a workdir: its run, the method, the method's variables (NumPy), and their step."""

    run: Run
    method: nn.Module
    variables: dict[str, Any]
    step: int


def comparable(config: Any) -> dict[str, Any]:
    """Return a run's config without the fields that do not affect results, with complete descriptions of the splits.

    Two runs with equal returned values train and score alike, even if different versions wrote their configs.
    """
    fields = spec.meaning(config)
    data = dict(fields.get("data", {}))
    given = {split: spec.meaning(split_config(data, split)) for split in SPLITS if split in data}
    data = {name: value for name, value in data.items() if name != "source"} | given
    fields = {name: value for name, value in fields.items() if name != "given"} | {"data": data}
    for path in MAY_CHANGE:
        *parents, last = path.split(".")
        node = fields
        for name in parents:
            node = node.get(name, {})
        node.pop(last, None)
    if not freezes_encoder(fields) or "patch" in fields["method"]["encoder"]:  # a ViT has no batch norm
        fields.pop("statistics", None)  # changes no number
    if not is_segmenter(fields) or "positions" not in fields["method"]["encoder"]:
        fields.pop("position_tables", None)  # changes no number
    if not fields.get("best"):
        fields["best"] = "mean_iou" if is_segmenter(fields) else "loss"
    return fields


def check_workdir(workdir: str, config: ConfigDict, writes: bool = True) -> None:
    """Write config.json into the workdir (if this process `writes`), or compare an existing one; UserError if they differ."""
    path = os.path.join(workdir, "config.json")
    if os.path.exists(path):
        lines = spec.differences(comparable(stored_config(workdir)), comparable(config))
        if lines:
            raise UserError(
                f"{workdir} holds a run of another config:\n  " + "\n  ".join(lines) + "\n"
                "Name another --workdir, or remove this one to start again."
            )
        return
    if not writes:
        return
    files.write(path, spec.to_json(config))


def stored_config(workdir: str) -> ConfigDict:
    """Return the config of a run from its workdir, in the current format."""
    path = os.path.join(workdir, "config.json")
    if not os.path.exists(path):
        raise UserError(f"Expected a run in {workdir!r}; there is no {path}. Name the --workdir of a run.")
    return read_config(path)


def read_config(path: str) -> ConfigDict:
    """Return the config that a run wrote, in the current format."""
    try:
        config = spec.from_json(data_files.text(path, "config"))
        _check_described(config)
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise UserError(f"{path} cannot be read ({error}). Restore the file or start again in another --workdir.") from error
    return config


def _check_described(config: ConfigDict) -> None:
    """Raise ValueError unless a config describes a run, whose arguments are all there; `convert` writes one of an encoder alone."""
    if not isinstance(config.get("method"), ConfigDict):
        raise ValueError("expected the description of a 'method' in it")
    if "target" not in config.method:
        return
    for name in ("data", "optimiser"):
        if not isinstance(config.get(name), ConfigDict) or "target" not in config[name]:
            raise ValueError(f"expected the description of {name!r} in it, with a 'target'")
    for name, value in spec.defaults(Run).items():
        if name not in config:
            config[name] = value


def load_trained(workdir: str, step: int = -1) -> Trained:
    """Return the newest checkpoint of a run, or the checkpoint of `step`, with its method."""
    config = stored_config(workdir)
    if "target" not in config.method:
        raise UserError(f"{workdir} holds an encoder alone, as `convert` left it. Train a head on it: segment --init={workdir}.")
    run = spec.build_run(config)
    loaded_step, variables = saved.load_variables(os.path.join(workdir, "checkpoints"), step)
    shapes = jax.eval_shape(lambda: dict(run.method.init(jax.random.key(0), states.example(run.example()), train=False)))
    saved.check_fit(shapes, variables, f"{workdir}/config.json describes another model than the one saved there. Restore the file.")
    return Trained(run, run.method, variables, loaded_step)


def validated(workdir: str, metric: str) -> dict[int, float | None]:
    """Return a metric of the validation set by step, from a run's metrics.jsonl; None for a value that was not finite."""
    name = f"validation/{metric}"
    return {row["step"]: row[name] for row in jsonlines.read(os.path.join(workdir, "metrics.jsonl")) if name in row}


def best_step(workdir: str) -> int:
    """Return the saved step that was best on validation by the run's metric, the first of equals."""
    metric = spec.build_run(stored_config(workdir)).metric
    kept = saved_steps(os.path.join(workdir, "checkpoints"))
    values = {step: value for step, value in validated(workdir, metric).items() if step in kept and value is not None}
    if not values:
        raise UserError(
            f"Expected {metric!r} of the validation set at a saved step of {workdir}, by which to choose the best; there is none. "
            "Name a step with --step, or leave --best out for the newest."
        )
    return (max if metric in LARGER_IS_BETTER else min)(values, key=values.__getitem__)


def finished(workdir: str) -> bool:
    """Return whether a run has reached its last step."""
    trained = saved_steps(os.path.join(workdir, "checkpoints"))
    return bool(trained) and trained[-1] >= stored_config(workdir).steps
