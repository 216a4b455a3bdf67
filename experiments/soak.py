"""Soak: kill, damage, starve and misuse real runs, and try examples of what must always hold; nothing may be lost or crash.

python -m experiments.soak                              all parts, in full: an hour or more; the same command goes on
python -m experiments.soak --parts="damage inputs"      some of them
python -m experiments.soak --minutes=30                 stop after the case that ends then
python -m experiments.soak --reduced --seed=1           a few cases of each part, under a minute; its results are not recorded

Parts: kills, damage, disks, ranks, inputs, properties (experiments/soaking).  Exits with 1 if a case failed.  Cases are recorded in
--workdir as they end, a finished part in experiments/results/soak.jsonl.
"""

import json
import os
import time
from collections.abc import Sequence

from aeseg.types import UserError

from .console import cli
from .machine import commands
from .soaking import damage, disks, inputs, journal, kills, properties, ranks, runs

PARTS = {"kills": kills, "damage": damage, "disks": disks, "ranks": ranks, "inputs": inputs, "properties": properties}


def run(argv: Sequence[str]) -> int:
    """The entry point; returns the exit code."""
    flags = cli.parse(
        argv,
        __doc__,
        parts=(" ".join(PARTS), "parts to run, in this order"),
        seed=(0, "of moments, damages, inputs and examples"),
        reduced=(False, "a few cases of each part"),
        again=(False, "try the cases again that failed before"),
        minutes=(0.0, "stop after the case that ends then; 0 does not"),
        workdir=("runs/soak", "where cases are recorded and runs live"),
    )
    if unknown := [part for part in flags.parts.split() if part not in PARTS]:
        raise UserError(f"Expected parts of {', '.join(PARTS)}; got {unknown[0]!r}. Set --parts.")
    scale = "reduced" if flags.reduced else "full"
    deadline = time.monotonic() + 60 * flags.minutes if flags.minutes else float("inf")
    failed, top = False, os.path.abspath(flags.workdir)
    # The reduced soak is about files and sentences, so XLA may skip what makes programs fast.
    bench = runs.Bench(top, {} if scale == "full" else {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"})
    for part in flags.parts.split():
        folder = os.path.join(top, f"{part}-{scale}-{flags.seed}")
        path = os.path.join(folder, "cases.jsonl")
        ended = os.path.join(folder, "summary.json")
        os.makedirs(folder, exist_ok=True)
        setting = runs.Setting(flags.seed, scale, folder, bench)
        if flags.again and os.path.exists(path):
            journal.forget_failures(path)
            if os.path.exists(ended):
                os.remove(ended)
        done = os.path.exists(ended) or journal.tried(PARTS[part].cases(setting), path, deadline, commands.say)
        line = journal.summary(part, flags.seed, scale, path)
        failed |= bool(line["failures"])
        counts = ", ".join(f"{number:,} {name}" for name, number in line["counts"].items())
        rest = "" if done else "  (not finished: the same command goes on)"
        commands.say(f"{part}: {counts or 'nothing tried'}; {len(line['failures'])} failures; {line['seconds']:.0f} s{rest}")
        if done and not os.path.exists(ended):
            if scale == "full":
                journal.record(line)
            with open(ended, "w", encoding="utf-8") as file:
                json.dump(line, file)
    bench.worker.kill()
    return 1 if failed else 0


if __name__ == "__main__":
    cli.main(run)
