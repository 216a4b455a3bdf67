"""Primary contrasts of a table: the comparisons named before its first test score.  All others are exploratory.

A pre-registered paper (experiments/papers) has two fields:

PRIMARY      {name: ((row, row to compare with), ...)}; a seed's difference is the mean over the pairs, of the first of METRICS
REGISTERED   the commit that named them: the last one that changed the docstring's paragraph which begins with MARK

A test compares that paragraph with the one in the commit.  A paper with claims (experiments/texts) has REGISTERED alone: its primary
comparisons are those of the claims.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from . import claims
from .formats import heading, number
from .significance import POWER, Paired, holm, paired
from .summary import unit

MARK = "Written before the first test score"
"""The start of the paragraph of a docstring that registers a study."""


class Contrast(NamedTuple):
    """A primary contrast: the seeds that all its rows have, the number of seeds it needs, its test, and Holm's p-value.

    `test` is None without seeds; `corrected` is None below two.
    """

    name: str
    seeds: int
    needed: int
    test: Paired | None = None
    corrected: float | None = None


def contrasts(paper: Any, results: Sequence[Mapping[str, Any]]) -> list[Contrast]:
    """Return the table's primary contrasts; one that is not measured yet counts in Holm's correction, with p = 1."""
    primary = getattr(paper, "PRIMARY", {})
    if not primary:
        return []
    metric, seeds_of = paper.METRICS[0], {row.name: row.seeds or paper.SEEDS for row in paper.ROWS}
    scores = {(line["row"], line["seed"]): line["numbers"][metric] for line in results if metric in line["numbers"]}
    known = []
    for name, pairs in primary.items():
        values, needed = claims.differences(pairs, scores), min(seeds_of[row] for pair in pairs for row in pair)
        known.append(Contrast(name, len(values), needed, paired(values, len(primary)) if values else None))
    corrected = holm([each.test.p if each.test and each.seeds > 1 else 1.0 for each in known])
    return [each._replace(corrected=p) if each.seeds > 1 else each for each, p in zip(known, corrected, strict=True)]


def paragraphs(paper: Any, results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what a table says of its primary contrasts and of all other comparisons; nothing for a table without comparisons."""
    if paper.SPLIT == "validation" or not any(row.compare for row in paper.ROWS):
        return []
    registered = getattr(paper, "REGISTERED", "")
    if not registered:
        return ["All comparisons of this table are exploratory: none was named before its first test score."]
    named = f"Named before the first test score, in commit {registered}"
    known = contrasts(paper, results)
    if not known:
        return [f"{named}: the primary comparisons of the statements. All other comparisons of this table are exploratory."]
    over = f", with Holm's correction over {len(known)}" if len(known) > 1 else ""
    kind = f"the primary contrast{'s' if len(known) > 1 else ''} in {heading(paper.METRICS[0])}, by a paired t-test{over}"
    lines = "; ".join(_said(each, paper.METRICS[0]) for each in known)
    return [f"{named}: {kind}. {lines}. All other comparisons of this table are exploratory."]


def _said(contrast: Contrast, metric: str) -> str:
    """Return a contrast's numbers: `MAE: +3.6 ± 1.2 points, p 0.001 (corrected 0.002); 10 seeds could show 1.4 with probability 0.8`."""
    if contrast.test is None:
        return f"{contrast.name}: not measured"
    test, name = contrast.test, unit(metric).name
    points = "points" if name == "%" else name
    seeds = f"{contrast.seeds} of {contrast.needed} seeds" if contrast.seeds < contrast.needed else f"{contrast.seeds} seeds"
    if contrast.corrected is None:
        return f"{contrast.name}: {number(test.mean, metric, '+')} {points}, {seeds}, so neither interval nor p"
    early = ", so this decides nothing yet" if contrast.seeds < contrast.needed else ""
    could = f"{seeds} could show {number(test.smallest, metric)} with probability {POWER}{early}"
    interval = f"{number(test.mean, metric, '+')} ± {number(test.half, metric)} {points}"
    return f"{contrast.name}: {interval}, p {test.p:.3f} (corrected {contrast.corrected:.3f}); {could}"
