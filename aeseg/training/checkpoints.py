"""Checkpoints: Orbax behind one door, with what it does not do itself.

Orbax restores a flipped byte without a word, so every leaf's checksum is saved beside it and checked on the way back; an
unusable checkpoint is named and the next older one is tried.
"""

import os
import re
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as managers

from aeseg import tree
from aeseg.training.state import TrainState
from aeseg.types import UserError


class Checkpoints:
    """The checkpoints of one run, in `directory`.

    Keeps the last `keep`, the best by the metric `best` ("": none for it), and each one at a multiple of `keep_every`
    (0: none).  Saving goes on in the background; an error of the disk surfaces at the next call.
    """

    def __init__(self, directory: str, keep: int = 2, best: str = "", keep_every: int = 0, smaller_is_better: bool = False):
        self.directory = os.path.abspath(directory)
        sign = -1.0 if smaller_is_better else 1.0
        policies: list[Any] = [managers.LatestN(keep)]
        if keep_every:
            policies.append(managers.EveryNSteps(keep_every))

        def score(metrics: dict[str, float]) -> float:
            return sign * metrics[best] if best in metrics else -np.inf

        if best:
            policies.append(managers.BestN(get_metric_fn=score, n=1))
        options = ocp.CheckpointManagerOptions(
            preservation_policy=managers.AnyPreservationPolicy(policies),
            best_fn=score if best else None,  # without it the metrics are not written, and forgotten at a restart
            cleanup_tmp_directories=True,
        )
        self._manager = _guarded(self.directory, lambda: ocp.CheckpointManager(self.directory, options=options))

    def steps(self) -> list[int]:
        """The steps that are saved, ascending."""
        return sorted(self._manager.all_steps())

    def best_step(self) -> int | None:
        """The step of the best checkpoint by the run's metric; None where nothing was measured."""
        return self._manager.best_step()

    def save(self, state: TrainState, metrics: dict[str, float]) -> None:
        """Save in the background; a step that is already there is left as it is."""
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        # A copy: the train step gives the state's memory to its successor while Orbax still writes.
        state = jax.tree.map(lambda leaf: np.array(leaf) if leaf.is_fully_addressable else leaf.copy(), state)
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave({"crc32": checksums(state)}))
        _guarded(self.directory, lambda: self._manager.save(step, args=items, metrics=metrics or None))

    def restore(self, like: TrainState, say: Callable[[str], None], step: int = -1) -> TrainState | None:
        """The newest checkpoint that is whole, placed as `like` (arrays or shapes with shardings); None where there is none.

        `step` >= 0 asks for that one and no other.  `say` hears which checkpoint was unusable, and why.
        """
        steps = [s for s in reversed(self.steps()) if step in (-1, s)]
        if step >= 0 and not steps:
            raise UserError(f"No checkpoint of step {step} in {self.directory}; there are {self.steps()}.")
        for candidate in steps:
            _check_fit(like, self.directory, candidate)
            try:
                found = self._manager.restore(
                    candidate, args=ocp.args.Composite(state=ocp.args.StandardRestore(like), meta=ocp.args.JsonRestore())
                )
                _check(found["state"], found["meta"]["crc32"])
                return found["state"]
            except Exception as error:  # Orbax raises bare Exception for a damaged file
                reason = str(error).strip().split("\n")[0][:200]
                say(f"Checkpoint {candidate} in {self.directory} is unusable ({reason}); trying an older one.")
        if steps:
            raise UserError(
                f"None of the checkpoints {sorted(steps)} in {self.directory} can be restored (reasons above). "
                "Start again in another workdir, or remove this one."
            )
        return None

    def wait(self) -> None:
        """Return when everything is on the disk; an error while writing is raised here."""
        _guarded(self.directory, self._manager.wait_until_finished)

    def reached_preemption(self, step: int) -> bool:
        """Whether the cluster asked all processes to stop, agreed upon at this step (needs jax.distributed)."""
        return self._manager.reached_preemption(step)

    def close(self) -> None:
        """Wait, and let go of the directory."""
        _guarded(self.directory, self._manager.close)


def saved_steps(directory: str) -> list[int]:
    """The steps whose checkpoints stand in a directory, ascending; none where there is no such directory."""
    return sorted(int(name) for name in os.listdir(directory) if name.isdigit()) if os.path.isdir(directory) else []


def load_variables(directory: str, step: int = -1, ema: bool = True) -> tuple[int, dict[str, Any]]:
    """(step, {params, other collections}) as NumPy arrays, without knowing the model; newest or the step asked for.

    Takes the running mean of the parameters where one was kept, unless `ema` is False.
    """
    directory = os.path.abspath(directory)
    steps = saved_steps(directory)
    if not steps:
        raise UserError(f"Expected checkpoints in {directory}; found none. Name the workdir of a run that has saved one.")
    if step >= 0 and step not in steps:
        raise UserError(f"No checkpoint of step {step} in {directory}; there are {steps}.")
    problems = []
    for candidate in [step] if step >= 0 else reversed(steps):
        try:
            with _reader(directory) as manager:
                shape = manager.item_metadata(candidate)["state"].tree
                target = jax.tree.map(lambda leaf: ocp.RestoreArgs(restore_type=np.ndarray), shape)
                found = manager.restore(
                    candidate,
                    args=ocp.args.Composite(state=ocp.args.PyTreeRestore(restore_args=target), meta=ocp.args.JsonRestore()),
                )
            _check(found["state"], found["meta"]["crc32"])
        except Exception as error:  # Orbax raises bare Exception for a damaged file
            problems.append(f"{candidate}: {str(error).strip().splitlines()[0][:200]}")
            continue
        state = found["state"]
        params = state["ema"] if ema and state.get("ema") else state["params"]
        return candidate, {"params": params, **(state.get("collections") or {})}
    raise UserError(f"No checkpoint in {directory} can be restored. " + "; ".join(problems))


def graft(variables: dict[str, Any], donor: dict[str, Any], parts: Sequence[str] = ("encoder/*",)) -> tuple[dict[str, Any], list[str]]:
    """`variables` with the leaves that match `parts` taken from `donor`; also the paths that were taken.

    Nothing is skipped in silence: a leaf that the donor lacks, has in another shape, or has beyond the model is an error.
    """
    fresh, given = tree.flatten(variables), tree.flatten(donor)
    wanted = {name for name in fresh if tree.matches(_inner(name), parts)}
    offered = {name for name in given if tree.matches(_inner(name), parts)}
    if not wanted:
        raise UserError(f"Nothing in the model matches {tuple(parts)}; it has {_few(sorted(fresh))}. Name its parts otherwise.")
    remedy = "Give the model the encoder that the checkpoint was trained with, or name another --init."
    check_fit({name: fresh[name] for name in wanted}, {name: given[name] for name in offered}, remedy)
    taken = tree.map_with_name(lambda name, leaf: given[name].astype(leaf.dtype) if name in wanted else leaf, variables)
    return taken, sorted(wanted)


def check_fit(model: Any, checkpoint: Any, remedy: str) -> None:
    """Raise UserError, with the paths, unless both trees (of arrays or shapes) have the same leaves of the same shapes."""
    fresh, given = tree.flatten(model), tree.flatten(checkpoint)
    missing, extra = sorted(fresh.keys() - given.keys()), sorted(given.keys() - fresh.keys())
    wrong = [name for name in sorted(fresh.keys() & given.keys()) if tuple(fresh[name].shape) != tuple(given[name].shape)]
    if missing or extra or wrong:
        lines = ["The checkpoint does not fit the model."]
        lines += ["Missing: " + _few(missing)] if missing else []
        lines += ["Extra: " + _few(extra)] if extra else []
        lines += ["Wrong shape:", *(f"  {n}: model {fresh[n].shape}, checkpoint {given[n].shape}" for n in wrong[:8])] if wrong else []
        raise UserError("\n".join([*lines, remedy]))


def checksums(state: Any) -> dict[str, int]:
    """CRC-32 of every leaf that this process holds whole, by path."""
    whole = {n: leaf for n, leaf in tree.flatten(state).items() if getattr(leaf, "is_fully_addressable", True)}
    return {name: zlib.crc32(np.ascontiguousarray(np.asarray(leaf)).tobytes()) for name, leaf in whole.items()}


def _check_fit(like: TrainState, directory: str, step: int) -> None:
    """Raise UserError where a checkpoint holds another model's parameters; a damaged one is left to who restores it."""
    try:
        with _reader(directory) as manager:
            stored = manager.item_metadata(step)["state"].tree["params"]
    except Exception:  # Orbax raises bare Exception for a damaged file
        return
    check_fit(like.params, stored, "The workdir holds another model's run, or its config.json was edited. Name another --workdir.")


def _reader(directory: str) -> ocp.CheckpointManager:
    """A manager that reads trees without knowing their shapes."""
    return ocp.CheckpointManager(
        directory,
        item_handlers={"state": ocp.PyTreeCheckpointHandler(), "meta": ocp.JsonCheckpointHandler()},
        options=ocp.CheckpointManagerOptions(read_only=True),
    )


def _check(state: Any, saved: dict[str, int]) -> None:
    for name, leaf in tree.flatten(state).items():
        if isinstance(leaf, jax.ShapeDtypeStruct):  # what Orbax gives, without an error, for a path that is not on disk
            raise ValueError(f"{name} is not in the checkpoint")
    wrong = [name for name, value in checksums(state).items() if name in saved and saved[name] != value]
    if wrong:
        raise ValueError(f"checksum mismatch in {_few(wrong)}")


def _inner(name: str) -> str:
    return name.partition("/")[2]  # without the collection: params/encoder/... -> encoder/...


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _guarded(directory: str, call: Callable[[], Any]) -> Any:
    """Make the disk's refusals sentences."""
    try:
        return call()
    except OSError as error:
        raise UserError(f"Cannot write to {directory}: {error.strerror or error}. Free some space or name another --workdir.") from error
    except Exception as error:
        if re.search(r"RESOURCE_EXHAUSTED|No space left|PERMISSION_DENIED|Permission denied|Read-only", str(error)):
            first = str(error).strip().splitlines()[0][:200]
            raise UserError(f"Cannot write to {directory}: {first}. Free some space or name another --workdir.") from error
        raise
