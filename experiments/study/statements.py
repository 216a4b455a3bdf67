"""The statements of a text beside what was measured: verdicts, differences, and the commands that measure them."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aeseg import spec

from .. import papers, texts
from ..recorded import measurements
from ..texts import Claim, Comparison
from . import claims
from .claims import Finding
from .formats import number
from .summary import unit

MARKS = ("<!-- statements: written by `python -m experiments.tables --readme` -->", "<!-- end of statements -->")


class Tested(NamedTuple):
    """A claim with its verdict, and the finding of each of its comparisons."""

    claim: Claim
    verdict: str
    findings: tuple[tuple[Comparison, Finding], ...]


def tested(table: str) -> list[Tested]:
    """Return the claims that a table tests, with what is measured of them; none for most tables."""
    if table not in spec.names(texts.__name__):
        return []
    return [_tested(claim, table) for claim in spec.module(texts.__name__, table).CLAIMS]


def opening(table: str) -> list[str]:
    """Return the Markdown that opens a table with claims: a line for each comparison."""
    known = tested(table)
    rows = []
    for index, each in enumerate(known, start=1):
        first = [f"{index}. {each.claim.says}", "", "", "", "", f"**{each.verdict}**", _command(each.claim, table)]
        rows.append(first)
        rows += [_row(comparison, finding, table) for comparison, finding in each.findings]
    if not rows:
        return []
    header = ["statement, comparison", "difference", "the seeds could show", "matters from", "seeds", "verdict", "measured by"]
    lines = [" | ".join(header), "|".join(["---"] * len(header)), *(" | ".join(row) for row in rows)]
    said = (
        "A comparison holds if the interval of its mean difference over seeds lies above 0 (or above what may be lost, if it asks for as "
        "good), and does not hold if the interval leaves no difference that matters; with fewer than 5 seeds it cannot be told. Intervals "
        "of a statement's comparisons are corrected for their number (Bonferroni); those in brackets are exploratory. The seeds could show "
        f"the difference given with probability {claims.significance.POWER}."
    )
    later = [
        f"The comparisons of statement {index} were named in commit {each.claim.registered}, before the first test score of its rows."
        for index, each in enumerate(known, start=1)
        if each.claim.registered
    ]
    return ["\n".join(f"| {line} |" for line in lines), " ".join([said, *later])]


def lines(table: str) -> list[str]:
    """Return one line for each claim of a table: the statement, its verdict, and the numbers of its primary comparisons."""
    return [f"{index}. {each.claim.says} **{_capital(each.verdict)}**{_reason(each)}." for index, each in enumerate(tested(table), start=1)]


def written(text: str) -> str:
    """Return a page with the lines of every text between its MARKS; unchanged without marks."""
    verdicts = "\n".join(line for table in spec.names(texts.__name__) for line in lines(table))
    pattern = f"({re.escape(MARKS[0])}).*?({re.escape(MARKS[1])})"
    return re.sub(pattern, lambda match: f"{match[1]}\n\n{verdicts}\n\n{match[2]}", text, flags=re.DOTALL)


def _tested(claim: Claim, table: str) -> Tested:
    primaries = sum(comparison.primary for comparison in claim.comparisons)
    findings = []
    for comparison in claim.comparisons:
        values = claims.differences(comparison.pairs, _scores(comparison, comparison.table or table))
        findings.append((comparison, claims.judge(values, comparison.matters, comparison.bar, primaries if comparison.primary else 1)))
    return Tested(claim, claims.verdict([finding.verdict for comparison, finding in findings if comparison.primary]), tuple(findings))


def _scores(comparison: Comparison, table: str) -> Mapping[tuple[str, int], float]:
    """Return the measured values of a comparison's metric, by row and seed."""
    paper = papers.at_scale(spec.module(papers.__name__, table), comparison.scale)
    wanted = {row for pair in comparison.pairs for row in pair}
    paper.ROWS = papers.with_starts(paper.ROWS, wanted) if wanted <= {row.name for row in paper.ROWS} else ()
    results = measurements.current(table, paper) if paper.ROWS else []
    return {(line["row"], line["seed"]): line["numbers"][comparison.metric] for line in results if comparison.metric in line["numbers"]}


def _row(comparison: Comparison, finding: Finding, table: str) -> list[str]:
    """Return the cells of a comparison."""
    name = comparison.name if comparison.primary else f"({comparison.name})"
    shown = number(finding.smallest, comparison.metric) if not math.isnan(finding.smallest) else ""
    matters = f"{number(comparison.matters, comparison.metric)}{', to lose' if comparison.bar else ''}"
    command = _command_of(comparison.table, comparison.scale) if comparison.table else ""
    return [f"&nbsp;&nbsp;{name}", difference(comparison, finding), shown, matters, str(finding.seeds), finding.verdict, command]


def difference(comparison: Comparison, finding: Finding) -> str:
    """Format `+3.9 ± 5.9 points mean iou` or `+4.10 ± 0.20 dB psnr`; empty without seeds."""
    if not finding.seeds:
        return ""
    half = "" if math.isnan(finding.half) else f" ± {number(finding.half, comparison.metric)}"
    metric = re.sub(r"^mean iou$", "mIoU", comparison.metric.replace("_", " ")).replace("psnr", "PSNR")
    return f"{number(finding.mean, comparison.metric, '+')}{half} {_unit(comparison)} {metric}"


def _reason(each: Tested) -> str:
    """Return the numbers behind a verdict: of one comparison, or of how many hold."""
    primary = [(comparison, finding) for comparison, finding in each.findings if comparison.primary]
    measured = [(comparison, finding) for comparison, finding in primary if finding.seeds]
    if not measured:
        return ""
    if len(primary) == 1:
        [(comparison, finding)] = measured
        could = f"; so many could show {number(finding.smallest, comparison.metric)} {_unit(comparison)}" if finding.smallest > 0 else ""
        return (
            f": {comparison.name}, {difference(comparison, finding)}, {_seeds([finding])}{could if each.verdict == claims.UNTOLD else ''}"
        )
    several = {claims.HOLDS: "hold", claims.FAILS: "do not hold", claims.UNTOLD: "cannot be told", claims.UNMEASURED: "not measured"}
    one = {**several, claims.HOLDS: "holds", claims.FAILS: "does not hold"}
    counts = {kind: sum(finding.verdict == kind for _, finding in primary) for kind in several}
    said = [f"{count} {(one if count == 1 else several)[kind]}" for kind, count in counts.items() if count]
    text = f": of {len(primary)} comparisons {', '.join(said)}"
    if len({_unit(comparison) for comparison, _ in measured}) > 1:
        return text
    ranked = sorted(measured, key=lambda pair: pair[1].mean)
    low, high = (number(finding.mean, comparison.metric, "+") for comparison, finding in (ranked[0], ranked[-1]))
    return f"{text}; mean differences from {low} to {high} {_unit(measured[0][0])}" if len(measured) > 1 else text


def _unit(comparison: Comparison) -> str:
    """Return the unit of a comparison's differences."""
    name = unit(comparison.metric).name
    return "points" if name == "%" else name


def _seeds(findings: Sequence[Finding]) -> str:
    seeds = findings[0].seeds
    return f"{seeds} seed{'s' if seeds > 1 else ''}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _command(claim: Claim, table: str) -> str:
    """Return the command that measures a claim's own rows alone; "" without rows."""
    return f"`./launch.sh tables {table} --run --rows='{claim.rows}'`" if claim.rows else ""


def _command_of(table: str, scale: str) -> str:
    return f"`./launch.sh tables {table} --run{'' if scale == 'cpu' else f' --scale={scale} --together'}`"
