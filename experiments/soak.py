"""Soak test: kill, damage, starve and misuse real runs, and test properties on random examples.  No run may crash or lose anything.

python -m experiments.soak                              all parts, in full: an hour or more; the same command continues
python -m experiments.soak --parts="damage inputs"      some parts
python -m experiments.soak --minutes=30                 start no case after 30 minutes
python -m experiments.soak --reduced --seed=1           a few cases of each part, under a minute; results are not recorded

Parts: kills, damage, disks, ranks, inputs, properties (experiments/soaking).  The exit code is 1 if a case failed.  --workdir records each
case when it ends; experiments/results/soak.jsonl records each finished part.
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
    """Run the command; return its exit code."""
    flags = cli.parse(
        argv,
        __doc__,
        parts=(" ".join(PARTS), "parts to run, in order"),
        seed=(0, "seed of moments, damages, inputs and examples"),
        reduced=(False, "a few cases of each part"),
        again=(False, "retry the cases that failed"),
        minutes=(0.0, "start no case after this many minutes; 0: no limit"),
        workdir=("runs/soak", "folder of records and runs"),
    )
    if unknown := [part for part in flags.parts.split() if part not in PARTS]:
        raise UserError(f"Expected parts of {', '.join(PARTS)}; got {unknown[0]!r}. Set --parts.")
    scale = "reduced" if flags.reduced else "full"
    deadline = time.monotonic() + 60 * flags.minutes if flags.minutes else float("inf")
    failed, top = False, os.path.abspath(flags.workdir)
    # The reduced soak tests files and messages, so XLA may skip optimisations.
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
        rest = "" if done else "  (not finished: the same command continues)"
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
