"""Cases of `soak`, tried one by one and recorded: an interrupted part goes on, and each finished part leaves one line of results."""

import json
import os
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from aeseg import files, jsonlines

from ..machine.provenance import provenance
from ..study import measurements

RESULTS = "soak"
"""The file of results, below experiments/results."""


class Outcome(NamedTuple):
    """What a case found: `counts` of what was tried ({"kills": 5}), and a sentence for each failure."""

    counts: dict[str, int]
    failures: tuple[str, ...] = ()


class Case(NamedTuple):
    """A case has a name, unique in its part, and is tried by calling `run`."""

    name: str
    run: Callable[[], Outcome]


def tried(cases: Iterable[Case], path: str, deadline: float, say: Callable[[str], None]) -> bool:
    """Try the cases that the journal at `path` does not hold; return whether all are done, False if the deadline came before."""
    done = {line["case"] for line in jsonlines.read(path)}
    for case in cases:
        if case.name in done:
            continue
        if time.monotonic() > deadline:
            return False
        began = time.monotonic()
        outcome = case.run()
        seconds = round(time.monotonic() - began, 2)
        line = {"case": case.name, "seconds": seconds, "counts": outcome.counts, "failures": list(outcome.failures)}
        jsonlines.write(path, line)
        for failure in outcome.failures:
            say(f"{case.name}: {failure}")
    return True


def forget_failures(path: str) -> None:
    """Take the cases that failed out of the journal, so that they are tried again."""
    lines = [line for line in jsonlines.read(path) if not line["failures"]]
    files.write(path, "".join(json.dumps(line) + "\n" for line in lines))


def summary(part: str, seed: int, scale: str, path: str) -> dict[str, Any]:
    """Return the line of a part: its counts added up, its seconds, and each failure."""
    lines = jsonlines.read(path)
    counts: dict[str, int] = {}
    for line in lines:
        for name, number in line["counts"].items():
            counts[name] = counts.get(name, 0) + number
    failures = [f"{line['case']}: {failure}" for line in lines for failure in line["failures"]]
    seconds = round(sum(line["seconds"] for line in lines), 1)
    told = {"part": part, "seed": seed, "scale": scale, "cases": len(lines), "counts": counts, "seconds": seconds}
    return {**told, "failures": failures, **provenance()}


def record(line: dict[str, Any]) -> None:
    """Add a part's line to the recorded results."""
    jsonlines.write(os.path.join(measurements.RESULTS, f"{RESULTS}.jsonl"), line)


def table() -> str:
    """Return the last full line of each part as Markdown, "" if none was recorded."""
    last = {line["part"]: line for line in measurements.lines(RESULTS) if line["scale"] == "full"}
    if not last:
        return ""
    rows = ["**Soak: what was done to runs and commands, and what failed**", "", "| part | tried | failures | minutes | commit |"]
    rows.append("|---|---|---|---|---|")
    for part, line in last.items():
        tried = ", ".join(f"{number:,} {name}" for name, number in line["counts"].items())
        rows.append(f"| {part} | {tried} | {len(line['failures'])} | {line['seconds'] / 60:.1f} | {line['commit']} |")
    return "\n".join(rows)
