"""Cases of `soak`: tried one by one and recorded.  An interrupted part resumes; a finished part adds one line of results."""

import json
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from aeseg import files, jsonlines

from ..machine.provenance import provenance
from ..recorded import measurements

RESULTS = "soak"
"""Name of the results file below experiments/results."""


class Outcome(NamedTuple):
    """Result of a case: `counts` of what it tried ({"kills": 5}), and a sentence for each failure."""

    counts: dict[str, int]
    failures: tuple[str, ...] = ()


class Case(NamedTuple):
    """A named case; names are unique in a part.  Calling `run` tries it."""

    name: str
    run: Callable[[], Outcome]


def tried(cases: Iterable[Case], path: str, deadline: float, say: Callable[[str], None]) -> bool:
    """Try the cases that are not in the journal at `path`; return True when all are done, False if the deadline came first."""
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
    """Remove failed cases from the journal, so that they are tried again."""
    lines = [line for line in jsonlines.read(path) if not line["failures"]]
    files.write(path, "".join(json.dumps(line) + "\n" for line in lines))


def summary(part: str, seed: int, scale: str, path: str) -> dict[str, Any]:
    """Return the results line of a part: its summed counts, seconds and failures."""
    lines = jsonlines.read(path)
    counts: dict[str, int] = {}
    for case in lines:
        for name, number in case["counts"].items():
            counts[name] = counts.get(name, 0) + number
    failures = [f"{case['case']}: {failure}" for case in lines for failure in case["failures"]]
    seconds = round(sum(case["seconds"] for case in lines), 1)
    line = {"part": part, "seed": seed, "scale": scale, "cases": len(lines), "counts": counts, "seconds": seconds}
    return {**line, "failures": failures, **provenance()}


def record(line: dict[str, Any]) -> None:
    """Append a part's line to the recorded results."""
    measurements.append(RESULTS, line)


def table() -> str:
    """Return the last full line of each part as a Markdown table, "" if none is recorded."""
    last = {line["part"]: line for line in measurements.lines(RESULTS) if line["scale"] == "full"}
    if not last:
        return ""
    rows = [
        "**Soak test: cases tried on runs and commands, and their failures**",
        "",
        "| part | tried | failures | minutes | commit |",
    ]
    rows.append("|---|---|---|---|---|")
    for part, line in last.items():
        tried = ", ".join(f"{number:,} {name}" for name, number in line["counts"].items())
        rows.append(f"| {part} | {tried} | {len(line['failures'])} | {line['seconds'] / 60:.1f} | {line['commit']} |")
    return "\n".join(rows)
