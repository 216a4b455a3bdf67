"""Checkpoints: Orbax, with checksums and recovery.

Orbax does not detect corrupted bytes, so every leaf's checksum is saved and checked on restore.  If a checkpoint is unusable, a
message names it, the next older checkpoint is tried, and the unusable one is moved aside so that its step can be saved again.
A checkpoint is read only on request, so a damaged checkpoint leaves the others usable.
"""

import contextlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers as managers

from aeseg import files, tree
from aeseg.training import stored
from aeseg.training.state import TrainState
from aeseg.training.stored import checksums, saved_steps
from aeseg.types import UserError

REFUSED = "RESOURCE_EXHAUSTED|Error writing|Failed writing|File too large|quota|No space left|PERMISSION_DENIED|Permission denied|Read-only"
"""Messages of tensorstore and Orbax for a failed write."""


class Checkpoints:
    """The checkpoints of one run, in `directory`.

    Keeps the last `keep` checkpoints, the best by the metric `best` ("": none), and those at multiples of `keep_every` (0: none).
    Saving runs in the background; the next call raises its disk errors.
    """

    def __init__(self, directory: str, keep: int = 2, best: str = "", keep_every: int = 0, smaller_is_better: bool = False):
        self.directory = os.path.abspath(directory)
        self._best, self._sign = best, -1.0 if smaller_is_better else 1.0
        self._scores: dict[int, float] = {}
        self._failed = False
        self._quiet = contextlib.ExitStack()
        self._quiet.enter_context(stored.one_error())  # until close: background errors print no traceback
        for step in saved_steps(self.directory):
            self._note(step, stored.saved_metrics(self.directory, step))
        policies: list[Any] = [managers.LatestN(keep), stored.Best(self._scores)]
        if keep_every:
            policies.append(managers.EveryNSteps(keep_every))
        self._policy = managers.AnyPreservationPolicy(policies)
        self._manager = self._opened()

    def steps(self) -> list[int]:
        """Return the saved steps, ascending."""
        return sorted(self._manager.all_steps())

    def best_step(self) -> int | None:
        """Return the step of the best checkpoint by the run's metric, the first of equals; None if none was measured."""
        return stored.best_of(self._scores, self.steps())

    def save(self, state: TrainState, metrics: dict[str, float]) -> None:
        """Save in the background; a saved step is not saved again."""
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        # Copy: the train step reuses the state's memory while Orbax still writes.
        state = jax.tree.map(lambda leaf: np.array(leaf) if leaf.is_fully_addressable else leaf.copy(), state)
        metrics = {name: float(value) for name, value in metrics.items()}
        meta = {"crc32": checksums(state), "metrics": metrics, "metrics_crc32": stored.checksum(metrics)}
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta))
        self._note(step, metrics)
        self._told(lambda: self._manager.save(step, args=items))

    def restore(self, like: TrainState, say: Callable[[str], None], step: int = -1) -> TrainState | None:
        """Restore the newest intact checkpoint, sharded as `like` (arrays or shapes with shardings); None if there is none.

        `step` >= 0 restores only that step.  `say` prints which checkpoints were unusable, why, and where they were moved: an unusable
        checkpoint newer than the restored one would prevent saving its step again.  If none can be restored, all stay.
        All processes restore the same checkpoint: if one process cannot use a checkpoint, no process uses it.
        """
        steps = [s for s in reversed(self.steps()) if step in (-1, s)]
        if step >= 0 and not steps:
            raise UserError(f"No checkpoint of step {step} in {self.directory}; there are {self.steps()}.")
        unusable: dict[int, Exception] = {}
        for candidate in steps:
            state = None
            try:
                with stored.one_error():
                    state = self._restored(like, candidate)
            except Exception as error:  # Orbax raises bare Exception for a damaged file
                unusable[candidate] = error
            if not _all_agree(state is not None):
                why = stored.reason(unusable.setdefault(candidate, ValueError("another process cannot read it")))
                say(f"Checkpoint {candidate} in {self.directory} is unusable ({why}); trying an older one.")
                continue
            self._set_aside(unusable, say)
            return state
        if unusable and all(isinstance(each, UserError) for each in unusable.values()):
            raise unusable[steps[0]]
        if steps:
            raise UserError(
                f"None of the checkpoints {sorted(steps)} in {self.directory} can be restored (reasons above). "
                "Start again in another workdir, or remove this one."
            )
        return None

    def wait(self) -> None:
        """Wait until everything is on disk; raise errors of writing."""
        self._told(self._manager.wait_until_finished)

    def close(self) -> None:
        """Wait and release the directory; errors that `save` or `wait` raised are not raised again."""
        failed = self._failed
        with contextlib.suppress(*((UserError,) if failed else ())):
            self._told(self._manager.close)
        if not failed:  # after an error Orbax's threads may outlive the manager
            self._quiet.close()

    def _told(self, call: Callable[[], Any]) -> None:
        try:
            _guarded(self.directory, call)
        except UserError:
            self._failed = True
            raise

    def _opened(self) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self._policy,
            step_name_format=stored.Names(),
            lightweight_initialize=True,  # reads nothing of the checkpoints
            cleanup_tmp_directories=True,
        )
        return _guarded(self.directory, lambda: ocp.CheckpointManager(self.directory, options=options))

    def _restored(self, like: TrainState, step: int) -> TrainState:
        _check_fit(like, self.directory, step)
        items = ocp.args.Composite(state=ocp.args.StandardRestore(like), meta=ocp.args.JsonRestore())
        restored = self._manager.restore(step, args=items)
        stored.check(restored["state"], restored["meta"]["crc32"], int(restored["state"].step), step)
        return restored["state"]

    def _set_aside(self, steps: Sequence[int] | Mapping[int, Any], say: Callable[[str], None]) -> None:
        """Rename the folders of these steps in one process, and list the steps again."""
        if not steps:
            return
        self._manager.close()
        for step in steps:
            if jax.process_index() == 0:
                new = files.move_aside(os.path.join(self.directory, str(step)))
                say(f"Checkpoint {step} is moved to {new}; remove it when you need its space.")
            self._scores.pop(step, None)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("aeseg: unusable checkpoints are moved aside")
        self._manager = self._opened()

    def _note(self, step: int, metrics: Mapping[str, float]) -> None:
        """Remember the score of a step, to choose the best."""
        if np.isfinite(metrics.get(self._best, np.nan)):
            self._scores[step] = self._sign * metrics[self._best]


def load_variables(directory: str, step: int = -1) -> tuple[int, dict[str, Any]]:
    """Load (step, {params, other collections}) as NumPy arrays, without the model: the given step, or the newest.

    Running means of parameters and batch statistics replace the values if they were saved.
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
            with stored.one_error(), _reader(directory) as manager:
                shape = manager.item_metadata(candidate)["state"].tree
                target = jax.tree.map(lambda leaf: ocp.RestoreArgs(restore_type=np.ndarray), shape)
                restored = manager.restore(
                    candidate,
                    args=ocp.args.Composite(state=ocp.args.PyTreeRestore(restore_args=target), meta=ocp.args.JsonRestore()),
                )
            stored.check(restored["state"], restored["meta"]["crc32"], int(restored["state"]["step"]), candidate)
        except Exception as error:  # Orbax raises bare Exception for a damaged file
            problems.append(f"{candidate}: {stored.reason(error)}")
            continue
        state = restored["state"]
        mean = state.get("ema") or {}
        mean = mean if "params" in mean or not mean else {"params": mean}  # a version that averaged only the parameters
        return candidate, {"params": state["params"], **(state.get("collections") or {}), **mean}
    raise UserError(f"No checkpoint in {directory} can be restored. " + "; ".join(problems))


def graft(variables: dict[str, Any], donor: dict[str, Any], parts: Sequence[str] = ("encoder/*",)) -> tuple[dict[str, Any], list[str]]:
    """Return `variables` with the leaves that match `parts` taken from `donor`, and the paths of these leaves.

    No leaf is skipped silently: a leaf that is missing from the donor, has another shape there, or is only there, raises an error.
    """
    fresh, given = tree.flatten(variables), tree.flatten(donor)
    wanted = {name for name in fresh if tree.matches(_inner(name), parts)}
    offered = {name for name in given if tree.matches(_inner(name), parts)}
    if not wanted:
        raise UserError(f"Nothing in the model matches {tuple(parts)}; it has {stored.few(sorted(fresh))}. Name its parts otherwise.")
    remedy = "Give the model the encoder that the checkpoint was trained with, or name another --init."
    check_fit({name: fresh[name] for name in wanted}, {name: given[name] for name in offered}, remedy)
    taken = tree.map_with_name(lambda name, leaf: given[name].astype(leaf.dtype) if name in wanted else leaf, variables)
    return taken, sorted(wanted)


def check_fit(model: Any, checkpoint: Any, remedy: str) -> None:
    """Raise UserError with the paths unless both trees (of arrays or shapes) have the same leaves with the same shapes."""
    fresh, given = tree.flatten(model), tree.flatten(checkpoint)
    missing, extra = sorted(fresh.keys() - given.keys()), sorted(given.keys() - fresh.keys())
    wrong = [name for name in sorted(fresh.keys() & given.keys()) if tuple(fresh[name].shape) != tuple(given[name].shape)]
    if missing or extra or wrong:
        lines = ["The checkpoint does not fit the model."]
        lines += ["Missing: " + stored.few(missing)] if missing else []
        lines += ["Extra: " + stored.few(extra)] if extra else []
        lines += ["Wrong shape:", *(f"  {n}: model {fresh[n].shape}, checkpoint {given[n].shape}" for n in wrong[:8])] if wrong else []
        raise UserError("\n".join([*lines, remedy]))


def _check_fit(like: TrainState, directory: str, step: int) -> None:
    """Raise UserError if a checkpoint holds another model's parameters; ignore a damaged checkpoint, which restoring reports."""
    try:
        with _reader(directory) as manager:
            stored = manager.item_metadata(step)["state"].tree["params"]
    except Exception:  # Orbax raises bare Exception for a damaged file
        return
    check_fit(like.params, stored, "The workdir holds another model's run, or its config.json was edited. Name another --workdir.")


def _reader(directory: str) -> ocp.CheckpointManager:
    """Return a manager that reads trees of unknown shapes."""
    return ocp.CheckpointManager(
        directory,
        item_handlers={"state": ocp.PyTreeCheckpointHandler(), "meta": ocp.JsonCheckpointHandler()},
        options=ocp.CheckpointManagerOptions(read_only=True, step_name_format=stored.Names(), lightweight_initialize=True),
    )


def _all_agree(usable: bool) -> bool:
    """Return whether a checkpoint is usable for every process."""
    return bool(np.min(multihost_utils.process_allgather(np.int32(usable)))) if jax.process_count() > 1 else usable


def _inner(name: str) -> str:
    return name.partition("/")[2]  # without the collection: params/encoder/... -> encoder/...


def _guarded(directory: str, call: Callable[[], Any]) -> Any:
    """Call `call`; raise the disk's errors as UserError."""
    try:
        return call()
    except OSError as error:
        raise UserError(f"Cannot write to {directory}: {error.strerror or error}. Free some space or name another --workdir.") from error
    except Exception as error:
        if re.search(REFUSED, str(error)):
            first = str(error).strip().splitlines()[0][:200]
            raise UserError(f"Cannot write to {directory}: {first}. Free some space or name another --workdir.") from error
        raise
