"""Verdict of a comparison: numbers from the lines of results.jsonl, and sentences that the intervals support."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..study.significance import CHANCE, POWER, holm, paired

Line = Mapping[str, Any]

CHANCE_IOU = 0.01
"""IoU below which a class counts as not predicted."""


def verdict(lines: Sequence[Line], warnings: Sequence[str] = ()) -> dict[str, Any]:
    """Return the numbers and sentences of a comparison (see the package), without winner and commands."""
    last = {(line["arm"], line["labels"], line["seed"]): line for line in lines}
    compared = {line["arm"]: line for line in last.values() if line["against"]}
    counts = sorted({line["labels"] for line in last.values()})
    arms = [_arm(last, line, counts, len(compared)) for line in compared.values()]
    for entries in ([arm["overall"] for arm in arms], *([arm["by_labels"][index] for arm in arms] for index in range(len(counts)))):
        _correct(entries)
    longer = {arm["encoder"]: arm["arm"] for arm in arms if arm["method"] == "longer"}
    for arm in arms:
        control = longer.get(arm["encoder"], arm["arm"])
        arm["longer"] = None if control == arm["arm"] else _overall(last, arm["arm"], control, counts, 1)
        scratch = {count: _mean(last, arm["against"], count) for count in counts}
        for entry in arm["by_labels"]:
            entry["worth"] = worth(scratch, entry) if entry["verdict"] == "gains" else None
    return {
        "headline": headline(arms, counts),
        "sentences": [sentence for arm in arms for sentence in sentences(arm, len(arms))],
        "warnings": [*warnings, *unlearned(list(last.values()))],
        "metric": "miou",
        "labels": counts,
        "seeds": sorted({line["seed"] for line in last.values()}),
        "arms": arms,
    }


def unlearned(lines: Sequence[Line]) -> list[str]:
    """Return warnings of encoders whose networks all predict only one class with some number of labels: their scores compare nothing."""
    several = [line for line in lines if len(line["metrics"].get("iou", ())) > 1]
    learned = {
        (line["encoder"], line["labels"]) for line in several if sum(iou > CHANCE_IOU for iou in line["metrics"]["iou"].values()) > 1
    }
    encoders = dict.fromkeys(line["encoder"] for line in several)
    counts = {encoder: sorted({line["labels"] for line in several if line["encoder"] == encoder}) for encoder in encoders}
    missed = {encoder: tuple(count for count in counts[encoder] if (encoder, count) not in learned) for encoder in encoders}
    steps = max((line["steps"] for line in several), default=0)
    return [
        f"With {' and '.join(labelled(count) for count in same)}, every network of {' and '.join(group)} predicts only one class after "
        f"{steps} steps; these scores do not compare the arms. Set --minutes higher, or compare smaller networks."
        for same in dict.fromkeys(missed.values())
        if same and (group := [encoder for encoder in encoders if missed[encoder] == same])
    ]


def difference(ours: Sequence[float], theirs: Sequence[float], arms: int = 1) -> dict[str, Any]:
    """Return the mean paired difference, its 95 % interval and p-value by Student's t, and the smallest difference that can be shown.

    `smallest` is at CHANCE / arms, the first level of Holm's correction.  One pair has no interval.
    """
    differences = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    entry: dict[str, Any] = {"seeds": len(differences), "scratch": _rounded(np.mean(theirs)), "value": _rounded(np.mean(ours))}
    entry |= {
        "gain": _rounded(differences.mean()),
        "low": None,
        "high": None,
        "p": None,
        "holm": None,
        "smallest": None,
        "verdict": "not shown",
    }
    if len(differences) < 2:
        return entry
    mean, half, p, smallest = paired(differences, arms)
    return {**entry, "low": _rounded(mean - half), "high": _rounded(mean + half), "p": p, "smallest": _rounded(smallest)}


def worth(scratch: Mapping[int, float], entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the number of further labels with which scratch would reach `entry`, by scratch's means over label counts.

    The curve is linear in the logarithm of the count.  Returns None if scratch does not rise at each count, or does not reach the value;
    `high` is None if only the upper end of the interval lies above the curve.
    """
    counts = [count for count in sorted(scratch) if count >= entry["labels"]]
    means = [scratch[count] for count in counts]
    if len(counts) < 2 or any(after <= before for before, after in itertools.pairwise(means)):
        return None
    here = scratch[entry["labels"]]

    def more(gain: float) -> int | None:
        if here + gain > means[-1]:
            return None
        return round(float(np.exp(np.interp(here + gain, means, np.log(counts))))) - entry["labels"]

    reached, low = more(entry["gain"]), more(max(0.0, entry["low"]))
    return None if reached is None or low is None else {"labels": reached, "low": low, "high": more(entry["high"])}


def headline(arms: Sequence[Mapping[str, Any]], counts: Sequence[int]) -> str:
    """Return the verdict in one sentence."""
    ranked = sorted(arms, key=lambda arm: -(arm["overall"]["gain"] or 0))
    gaining = [arm for arm in ranked if arm["overall"]["verdict"] == "gains"]
    if gaining:
        best, seeds = gaining[0], gaining[0]["overall"]["seeds"]
        return f"{best['arm']} gains {_points(best['overall'])} of mIoU over {best['against']} with {seeds} seeds{_over(counts)}."
    gains = [(entry, arm) for arm in ranked for entry in arm["by_labels"] if entry["verdict"] == "gains"]
    if gains:
        entry, arm = max(gains, key=lambda each: each[0]["gain"])
        among = f", one of {len(counts)} label counts; averaged over all of them, no gain is shown" if len(counts) > 1 else ""
        return f"{arm['arm']} gains {_points(entry)} of mIoU over {arm['against']} with {labelled(entry['labels'])}{among}."
    seeds = max((arm["overall"]["seeds"] for arm in arms), default=0)
    if seeds < 2:
        return "No verdict yet: an interval needs at least two seeds."
    if all(arm["overall"]["verdict"] == "loses" for arm in arms):
        return f"Every arm loses against its scratch with {seeds} seeds{_over(counts)}."
    return f"No gain is shown with {seeds} seeds{_over(counts)}."


def sentences(arm: Mapping[str, Any], arms: int) -> list[str]:
    """Return sentences about an arm's differences: over all label counts, then by count."""
    overall = arm["overall"]
    if overall["low"] is None:
        return [f"{arm['arm']}: {100 * (overall['gain'] or 0):+.1f} points against {arm['against']}, one seed, so no interval."]
    words = {"gains": "gains", "loses": "loses", "not shown": "no difference shown,"}
    corrected = f", p {overall['holm']:.2g} after Holm's correction over {arms} arms" if arms > 1 else f", p {overall['holm']:.2g}"
    power = "; more seeds are needed to show any"
    if overall["smallest"] < 1:
        power = f"; this number of seeds shows {100 * overall['smallest']:.1f} points with probability {POWER}"
    lines = [
        f"{arm['arm']}: {words[overall['verdict']]} {_points(overall)} against {arm['against']}, {overall['seeds']} seeds{corrected}"
        f"{power if overall['verdict'] == 'not shown' else ''}."
    ]
    if arm["longer"] and arm["longer"]["low"] is not None:
        lines.append(f"{arm['arm']}: {_points(arm['longer'])} against scratch with the pretraining's seconds as further steps.")
    for entry in arm["by_labels"] if len(arm["by_labels"]) > 1 else ():
        if entry["verdict"] != "not shown":
            lines.append(f"{arm['arm']}, {labelled(entry['labels'])}: {words[entry['verdict']]} {_points(entry)}{_worth(entry)}.")
    return lines


def _arm(last: Mapping[tuple[str, int, int], Line], line: Line, counts: Sequence[int], arms: int) -> dict[str, Any]:
    """Return the differences of an arm, before correction."""
    name, against = line["arm"], line["against"]
    values = {key: each["metrics"]["miou"] for key, each in last.items()}
    shared = {
        count: sorted(seed for arm, labels, seed in values if (arm, labels) == (name, count) and (against, count, seed) in values)
        for count in counts
    }
    by_labels = []
    for count, seeds in shared.items():
        ours, theirs = ([values[arm, count, seed] for seed in seeds] for arm in (name, against))
        by_labels.append({"labels": count, **(difference(ours, theirs, arms) if seeds else _no_difference())})
    runs = [each for each in last.values() if each["arm"] == name]
    minutes = (sum(each["seconds"] for each in runs) + runs[0].get("pretraining_seconds", 0.0)) / 60
    overall = _overall(last, name, against, counts, arms)
    identity = {key: line.get(key, "") for key in ("arm", "encoder", "method", "against")}
    return {**identity, "minutes": round(minutes, 2), "overall": overall, "by_labels": by_labels}


def _overall(last: Mapping[tuple[str, int, int], Line], name: str, against: str, counts: Sequence[int], arms: int) -> dict[str, Any]:
    """Return the difference of two arms' means over label counts, paired by seed; seeds that lack a count are left out."""
    values = {key: each["metrics"]["miou"] for key, each in last.items()}
    seeds = sorted({seed for _, _, seed in values})
    complete = [seed for seed in seeds if all((arm, count, seed) in values for arm in (name, against) for count in counts)]
    ours, theirs = ([float(np.mean([values[arm, count, seed] for count in counts])) for seed in complete] for arm in (name, against))
    return difference(ours, theirs, arms) if complete else _no_difference()


def _correct(entries: Sequence[dict[str, Any]]) -> None:
    """Set the corrected p-value and the verdict of the differences of all arms at one label count."""
    tested = [entry for entry in entries if entry["p"] is not None]
    for entry, value in zip(tested, holm([entry["p"] for entry in tested]), strict=True):
        entry["holm"] = value
        if value <= CHANCE:
            entry["verdict"] = "gains" if entry["gain"] > 0 else "loses"


def _mean(last: Mapping[tuple[str, int, int], Line], arm: str, count: int) -> float:
    scores = [line["metrics"]["miou"] for (name, labels, _), line in last.items() if (name, labels) == (arm, count)]
    return float(np.mean(scores)) if scores else float("nan")


def _no_difference() -> dict[str, Any]:
    numbers = dict.fromkeys(("scratch", "value", "gain", "low", "high", "p", "holm", "smallest"))
    return {"seeds": 0, **numbers, "verdict": "not shown"}


def _rounded(value: Any) -> float:
    return round(float(value), 6)


def _points(entry: Mapping[str, Any]) -> str:
    """Return `+2.1 ± 0.8 points`."""
    return f"{100 * entry['gain']:+.1f} ± {50 * (entry['high'] - entry['low']):.1f} points"


def labelled(count: int) -> str:
    """Return `1 label` or `4 labels`."""
    return f"{count} label{'s' if count != 1 else ''}"


def _over(counts: Sequence[int]) -> str:
    if len(counts) == 1:
        return f" and {labelled(counts[0])}"
    return f", averaged over {', '.join(map(str, counts[:-1]))} and {counts[-1]} labels"


def _worth(entry: Mapping[str, Any]) -> str:
    further = entry["worth"]
    if not further:
        return ""
    interval = f"{further['low']} to {further['high']}" if further["high"] is not None else f"at least {further['low']}"
    return f", as good as scratch with {further['labels']} more labels ({interval})"
