"""A table's lines as Markdown, LaTeX or CSV."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..recorded.rows import seeds_of
from .significance import CHANCE, ENOUGH, EXACT, bootstrap, bootstrap_coverage, interval, rank_correlation, sign_flip, smallest_p
from .summary import Line, scores_images, unit

NAMED = 8
"""Number of rows without a measurement to name, for each number of missing seeds."""


def markdown(paper: Any, metrics: Sequence[str], lines: Sequence[Line], longest: int | None = None) -> str:
    """Format a table as Markdown: title, OPENING, CONTRASTS, table, units and provenance of its numbers, agreement of orders, NOTE.

    A table with more than `longest` rows is folded, together with its units and provenance.
    """
    header, rows = cells(metrics, lines)
    table = [_in_pipes(header).replace("|  |", "| |", 1), "|---" * len(header) + "|", *map(_in_pipes, rows)]
    measured = "\n\n".join(["\n".join(table), *below(paper, lines)])
    if longest is not None and len(rows) > longest:
        measured = folded(f"the table, {len(rows)} rows", measured)
    note = [paper.NOTE] if getattr(paper, "NOTE", "") else []
    return "\n\n".join(
        [f"**{paper.TITLE}**", *getattr(paper, "OPENING", ()), *getattr(paper, "CONTRASTS", ()), measured, *_orders(paper, lines), *note]
    )


def folded(title: str, text: str) -> str:
    """Return Markdown that shows only its title until it is clicked."""
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"


def latex(paper: Any, metrics: Sequence[str], lines: Sequence[Line]) -> str:
    """Format a table for a paper: a LaTeX table environment (needs booktabs) with units in its caption."""
    header, rows = cells(metrics, lines)
    body = ["\\midrule" if row is None else " & ".join(map(_escaped, row)) + r" \\" for row in (header, None, *rows)]
    inside = [r"\toprule", *body, r"\bottomrule"]
    caption = _escaped(
        " ".join([f"{paper.TITLE}.", *getattr(paper, "CONTRASTS", ()), *below(paper, lines), *_orders(paper, lines)]).replace("\n", " ")
    )
    tabular = [f"\\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", *inside, r"\end{tabular}"]
    return "\n".join([r"\begin{table}", r"\centering", f"\\caption{{{caption}}}", *tabular, r"\end{table}"])


def comma_separated(paper: Any, metrics: Sequence[str], lines: Sequence[Line]) -> str:
    """Format a table for other programs: each number in its own column, in % or its unit, empty if absent."""
    columns = [f"{metric}{part}" for metric in metrics for part in ("", "_half_interval", "_paper")]
    tested = [f"difference_{metrics[0]}", "difference_half_interval", "bootstrap_low", "bootstrap_high", "p"]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["row", *columns, "tolerance", "citation", "compared_with", *tested, "seeds", "seconds", "device", "commit", "error"])
    for line in lines:
        row, numbers = line.row, []
        for metric in metrics:
            numbers += [*_printed(line.values[metric], metric), row.paper.get(metric, "")]
        low, high, p = _tests(line) or (float("nan"),) * 3
        factor = unit(line.metric).factor
        changes = [*_printed(line.differences, line.metric)]
        changes += [f"{each:.4f}" if each == each else "" for each in (factor * low, factor * high, p)]
        seconds = f"{line.seconds:.1f}" if line.seeds else ""
        where = ["; ".join(line.devices), "; ".join(line.commits), "; ".join(line.failures)]
        table.writerow(
            [row.name, *numbers, row.tolerance if row.paper else "", row.citation, row.compare, *changes, line.seeds, seconds, *where]
        )
    return text.getvalue().rstrip("\n")


FORMATS: dict[str, Callable[..., str]] = {"markdown": markdown, "latex": latex, "csv": comma_separated}


def _in_pipes(cells: Sequence[str]) -> str:
    """Return a line of a Markdown table, with pipes inside cells escaped."""
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def cells(metrics: Sequence[str], lines: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    """Return (header, rows) as text; columns for the paper, differences and tests are included if some row has them."""
    published = [metric for metric in metrics if any(metric in line.row.paper for line in lines)]
    compared, tested = any(line.differences for line in lines), any(_tests(line) for line in lines)
    header = [""]
    for metric in metrics:
        header += [heading(metric), *(["the paper's"] if metric in published else [])]
    header += [*(["difference of the first"] if compared else []), *(["bootstrap 95 %", "p"] if tested else []), "seeds", "seconds"]
    rows = []
    for line in lines:
        row = [line.row.name]
        for metric in metrics:
            row.append(cell(line.values[metric], metric) or ("failed" if line.failures else ""))
            if metric in published:
                row.append(f"{line.row.paper[metric]:.1f}" if metric in line.row.paper else "")
        if compared:
            row.append(cell(line.differences, line.metric, "+"))
        if tested:
            tests = _tests(line)
            low, high = (number(each, line.metric, "+") for each in tests[:2]) if tests else ("", "")
            row += [f"{low} to {high}", f"{tests[2]:.3f}"] if tests else ["", ""]
        rows.append([*row, str(line.seeds), f"{line.seconds:.0f}" if line.seeds else ""])
    return header, rows


def below(paper: Any, lines: Sequence[Line]) -> list[str]:
    """Return the paragraphs below a table: units and provenance, tests, ORIGINS, citations, failures, missing measurements."""
    devices = sorted({device for line in lines for device in line.devices})
    commits = sorted({commit for line in lines for commit in line.commits})
    units = "in % or the unit named" if scores_images(paper) else "in %"
    said = f"Mean ± half of the 95 % interval over seeds, {units}; {'; '.join(devices)}; commit {', '.join(commits)}."
    if any(line.row.init for line in lines):
        said += " Seconds are of the row's run, without its pretraining."
    paragraphs = [" ".join([said, *_cautions(lines)])] if devices else []
    paragraphs += getattr(paper, "ORIGINS", ())
    cited = [f"{line.row.name}: {line.row.citation}, within {line.row.tolerance:.1f}" for line in lines if line.row.paper]
    paragraphs += [f"The paper's numbers, and how far ours may be from them: {'; '.join(cited)}."] if cited else []
    failures = [f"{line.row.name}, {failure}" for line in lines for failure in line.failures]
    paragraphs += ["Failed: " + "; ".join(failures)] if failures else []
    return [*paragraphs, *_unmeasured(paper, lines)]


def _unmeasured(paper: Any, lines: Sequence[Line]) -> list[str]:
    """Return a paragraph that names the rows with missing seeds, at most NAMED of each number of seeds."""
    measured = {line.row.name: line.seeds for line in lines}
    groups: dict[str, list[str]] = {}
    for row in getattr(paper, "ROWS", ()):
        seeds = seeds_of(row, paper)
        missing = seeds - measured.get(row.name, 0)
        if missing > 0 and (row.command != "pretrain" or scores_images(paper)):
            groups.setdefault(f"{missing} of {seeds} seeds of" if missing < seeds else "all seeds of", []).append(row.name)
    return [" ".join(f"Not measured: {few} {_first(names)}." for few, names in groups.items())] if groups else []


def _first(names: Sequence[str]) -> str:
    """Return the first NAMED names, and the number of the others."""
    more = len(names) - NAMED
    return "; ".join([*names[:NAMED], *([f"and {more} more (`--plan` lists them)"] if more > 0 else [])])


def _cautions(lines: Sequence[Line]) -> list[str]:
    """Return sentences about the tests of a table's differences and their limits for its seeds and comparisons."""
    pairs = [len(line.differences) for line in lines if len(line.differences) > 1]
    said = []
    if few := sorted({seeds for seeds in pairs if seeds >= ENOUGH}):
        said.append("Bootstrap and p (two-sided, of all sign patterns) of the differences, seed by seed.")
        said += [
            f"With {seeds} seeds p is never below {smallest_p(seeds):.3g}, and a bootstrap interval of 95 % contains the mean of normal "
            f"differences in about {100 * bootstrap_coverage(seeds):.0f} % of cases (the one after ±, by t: 95 %)."
            for seeds in few
        ]
    if len(pairs) > 1:
        said.append(
            f"The {len(pairs)} comparisons are not corrected for their number: if nothing differed, about {CHANCE * len(pairs):.1f} of "
            "their intervals (±) would still exclude 0."
        )
    return said


def _orders(paper: Any, lines: Sequence[Line]) -> list[str]:
    """Return a paragraph for each of the paper's ORDERS of rows."""
    return [said for name, order in getattr(paper, "ORDERS", {}).items() if (said := _order(name, order, paper.METRICS, lines))]


def _order(name: str, published: Mapping[str, Mapping[str, float]], metrics: Sequence[str], lines: Sequence[Line]) -> str:
    """Return the rank correlation of our rows with a paper's, whose numbers are not comparable themselves; "" for fewer than three rows."""
    correlations = []
    for metric in metrics:
        both = [
            (interval(line.values[metric])[0], published[line.row.name][metric])
            for line in lines
            if metric in published.get(line.row.name, ()) and line.values.get(metric)
        ]
        if len(both) > 2:
            rho, p = rank_correlation(*zip(*both, strict=True))
            how = f"of all orders of {len(both)} rows" if len(both) <= EXACT else f"by the t approximation, {len(both)} rows"
            correlations.append(f"{metric.replace('_', ' ')} {rho:+.2f} (p {p:.3f} {how})")
    return f"Spearman's rank correlation of the paper's numbers with ours, {name}: {', '.join(correlations)}." if correlations else ""


def _tests(line: Line) -> tuple[float, float, float] | None:
    """Return (low, high, p-value) of the differences by bootstrap and sign flips; None for too few pairs."""
    return (*bootstrap(line.differences), sign_flip(line.differences)) if len(line.differences) >= ENOUGH else None


def heading(metric: str) -> str:
    """Return the words of a metric, with its unit if that is not %.

    >>> heading("mean_iou"), heading("psnr")
    ('mean iou', 'psnr, dB')
    """
    name = unit(metric).name
    return metric.replace("_", " ") + ("" if name == "%" else f", {name}")


def number(value: float, metric: str = "", sign: str = "") -> str:
    """Format a metric's value in its unit.

    >>> number(0.371), number(24.1, "psnr", "+")
    ('37.1', '+24.10')
    """
    _, factor, digits = unit(metric)
    return f"{factor * value:{sign}.{digits}f}"


def cell(values: Sequence[float], metric: str = "", sign: str = "") -> str:
    """Format `37.1 ± 4.5`: mean and half of the interval in the metric's unit; empty without values."""
    if not values:
        return ""
    mean, half = interval(values)
    return number(mean, metric, sign) + (f" ± {number(half, metric)}" if half == half else "")


def _printed(values: Sequence[float], metric: str) -> list[str]:
    """Return the mean and half of the interval as text, each empty if absent."""
    mean, half = interval(values) if values else (float("nan"),) * 2
    return [f"{unit(metric).factor * each:.4f}" if each == each else "" for each in (mean, half)]


def _escaped(text: str) -> str:
    """Escape LaTeX's special characters."""
    special = {"\\": "backslash", "~": "asciitilde", "^": "asciicircum", "|": "bar", "<": "less", ">": "greater"}
    special = {"±": r"$\pm$", **{each: f"\\text{name}{{}}" for each, name in special.items()}}
    return "".join(special.get(each, f"\\{each}" if each in "&%$#_{}" else each) for each in text)
