"""Rehearsal of a table: train every row for a few steps, to find errors before the long runs."""

import functools
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from aeseg import files, jsonlines
from aeseg.data.transforms import Resize
from aeseg.spec import spec, to_json
from aeseg.training import checkpoints as saved
from aeseg.types import UserError

from .. import module
from ..machine import commands
from ..recorded.descriptions import configured
from ..recorded.rows import Row
from . import training


def rehearse(
    table: str, paper: Any, runs: str, extra: Mapping[str, object], jobs: int, steps: int, size: tuple[int, ...] = ()
) -> tuple[str, bool]:
    """Train every row of one seed for `steps` steps, on images resized to `size` if given; return (messages, whether all rows ran).

    Trains only the first of rows that differ only in label fraction.  Configs and workdirs are in the folder <table>-rehearsal of `runs`.
    Existing workdirs are continued; a message names finished workdirs.  Nothing is added to the results.
    """
    if steps < 1:
        raise UserError(f"Expected at least one step of each row; got --rehearse={steps}.")
    name, results, existing = f"{table}-rehearsal", {}, set()
    where = functools.partial(training.path_prefix, runs, name)

    def run(row: Row, seed: int, share: dict[str, Any]) -> None:
        workdir = where(row.name, seed)
        os.makedirs(os.path.dirname(workdir), exist_ok=True)
        of = where(row.init, seed)
        if row.command == "evaluate":
            command = ["evaluate", f"--workdir={of}", "--split=validation", *training.scoring(row)]
        else:
            files.write(f"{workdir}.json", to_json(shortened(row, extra, steps, size)))
            command = [row.command, f"--config={workdir}.json", f"--workdir={workdir}", *([f"--init={of}"] if row.init else [])]
        commands.say(f"[{name}] {row.name}: begins")
        if row.command != "evaluate" and steps in saved.saved_steps(os.path.join(workdir, "checkpoints")):
            existing.add(row.name)
        began = time.perf_counter()
        log = f"{workdir}.log" if share["jobs"] > 1 else ""
        commands.call([sys.executable, "-m", module(command[0]), *command[1:]], share, log)
        before = "had run before, " if row.name in existing else ""
        results[row.name] = f"{before}{_losses(workdir) or 'scored'}, {time.perf_counter() - began:.0f} s"

    first = {_but_for_labels(row): row for row in reversed(paper.ROWS)}
    alike = {row.name: first[_but_for_labels(row)].name for row in paper.ROWS}
    failed = training.run_all([(row, 0) for row in paper.ROWS if alike[row.name] == row.name], jobs, where, run)
    lines = []
    for row in paper.ROWS:
        of = alike[row.name]
        lines.append(f"{row.name}: {f'as {of}' if of != row.name else results.get(of) or 'failed: ' + failed[of, 0]}")
    ran, old = (sum(of in results and (of in existing) == before for of in alike.values()) for before in (False, True))
    summary = f"{ran} of {len(paper.ROWS)} rows ran {steps} steps{f', {old} had run before' if old else ''}."
    return "\n".join([*lines, summary]), not failed


def shortened(row: Row, extra: Mapping[str, object], steps: int, size: Sequence[int]) -> ConfigDict:
    """Return the row's config with `steps` steps, one evaluation and one checkpoint, on images of `size` unless it is ()."""
    config = configured(row, extra)
    config.steps = config.evaluate_every = config.save_every = steps
    config.log_every = max(1, steps // 4)
    if size:
        resized = (spec(Resize, height=size[0], width=size[1]),)
        config.window = tuple(size)
        for part in config.method.values():  # a transformer's position table is as large as its images
            if isinstance(part, ConfigDict) and "grid" in part:
                part.grid = tuple(side // config.method.encoder.patch for side in size)
        config.data.transforms = (*config.data.transforms, *resized)
        config.data.evaluation_transforms = (*config.data.evaluation_transforms, *resized)
    return config


def _but_for_labels(row: Row) -> str:
    """Return a row's identity without its name and label fraction."""
    return repr((row.command, row.config, row.init, {name: value for name, value in row.overrides.items() if name != "data.fraction"}))


def _losses(workdir: str) -> str:
    """Return the first and last logged training loss, or ""."""
    losses = [row["train/loss"] for row in jsonlines.read(os.path.join(workdir, "metrics.jsonl")) if "train/loss" in row]
    return f"loss {losses[0]:.4g} to {losses[-1]:.4g}" if losses else ""
