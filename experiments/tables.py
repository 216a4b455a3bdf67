"""Tables of measured results, with seeds, intervals and provenance.

python -m experiments.tables --table=camvid_small            print what experiments/results/camvid_small.jsonl holds
python -m experiments.tables --table=camvid_small --run      train the rows and seeds that are missing, then print (--jobs=2: two at once)
python -m experiments.tables --table=camvid_small --picture  draw predictions and reconstructions, from the runs of the first seed
python -m experiments.tables --readme                        write every table with results into README.md

A row and seed is one workdir below --runs, trained by the entry point that its row names and scored once on the table's
split; its result is one line of the results file.  What is there is not run again, what was interrupted goes on.
"""

import os
import re
import sys
from collections.abc import Sequence

import numpy as np
from scipy import stats

from aeseg import spec
from aeseg.types import UserError
from experiments import cli, figures, measurements

HERE = os.path.dirname(os.path.abspath(__file__))
README = os.path.join(os.path.dirname(HERE), "README.md")
MARKS = ("<!-- results: written by `python -m experiments.tables --readme` -->", "<!-- end of results -->")


def run(argv: Sequence[str]) -> int:
    """The entry point; returns the exit code."""
    failed: list[str] = []
    flags = cli.parse(
        argv,
        __doc__,
        table=("", "a file of experiments/papers"),
        run=(False, "train what is missing"),
        runs=("runs", "where the workdirs live"),
        jobs=(1, "runs at once, each on its own GPU or its own part of the cores"),
        set=("", "config fields for every row, comma-separated: data.root=/data/camvid,data.threads=4"),
        picture=(False, "draw predictions and reconstructions into experiments/results/pictures"),
        readme=(False, "write the tables into README.md"),
    )
    if flags.readme:
        write_readme()
        return 0
    paper = spec.module("experiments.papers", flags.table)
    if flags.run:
        extra = dict(item.split("=", 1) for item in flags.set.split(",") if item)
        failed = measurements.measure_missing(flags.table, paper, flags.runs, extra, flags.jobs)
    if flags.picture:
        print("\n".join(figures.write(flags.table, paper, flags.runs)))
        return 0
    if failed:
        print("\nNot measured; the same command tries again:\n" + "\n".join(failed), file=sys.stderr)
        return 1
    print(markdown(flags.table))
    return 0


def interval(values: Sequence[float]) -> tuple[float, float]:
    """(mean, half the width of its 95 % interval) by Student's t; one value has no interval (NaN)."""
    array = np.asarray(values, np.float64)
    if len(array) < 2:
        return float(array.mean()), float("nan")
    return float(array.mean()), float(stats.t.ppf(0.975, len(array) - 1) * array.std(ddof=1) / np.sqrt(len(array)))


def markdown(table: str) -> str:
    """The table as Markdown; differences are taken seed by seed."""
    paper = spec.module("experiments.papers", table)
    found = measurements.lines(table)
    if not found:
        raise UserError(f"Nothing of {table} has been measured. Run python -m experiments.tables --table={table} --run.")
    rows = [f"**{paper.TITLE}**", ""]
    scored = [row for row in paper.ROWS if any(line["row"] == row.name for line in found)]
    metrics = [metric for metric in paper.METRICS if any(metric in line["numbers"] for line in found)]
    rows.append("| | " + " | ".join(metric.replace("_", " ") for metric in metrics) + " | difference of the first | seeds | seconds |")
    rows.append("|---|" + "---|" * (len(metrics) + 3))
    for row in scored:
        mine = {line["seed"]: line for line in found if line["row"] == row.name}
        if not any(metric in line["numbers"] for line in mine.values() for metric in metrics):
            continue  # a pretraining row: it is scored by what it leads to
        cells = [_cell([line["numbers"][metric] for line in mine.values()]) for metric in metrics]
        other = {line["seed"]: line for line in found if line["row"] == row.compare}
        both = sorted(mine.keys() & other.keys())
        change = [mine[seed]["numbers"][metrics[0]] - other[seed]["numbers"][metrics[0]] for seed in both]
        seconds = np.mean([line["seconds"] for line in mine.values()])
        rows.append(f"| {row.name} | " + " | ".join(cells) + f" | {_cell(change, '+') if change else ''} | {len(mine)} | {seconds:.0f} |")
    devices = sorted({line["device"] for line in found})
    commits = sorted({line["commit"] for line in found})
    rows += ["", f"Mean ± half of the 95 % interval over seeds, in %; {'; '.join(devices)}; commit {', '.join(commits)}."]
    return "\n".join([*rows, *(["", paper.NOTE] if hasattr(paper, "NOTE") else [])])


def pictures(table: str) -> str:
    """Links to what was drawn of a table."""
    names = {f"{table}.jpg": "predictions", f"{table}_reconstructions.jpg": "reconstructions"}
    folder = os.path.join(measurements.RESULTS, "pictures")
    found = [f"[{text}](experiments/results/pictures/{name})" for name, text in names.items() if os.path.exists(os.path.join(folder, name))]
    return f"\n\nPictures: {', '.join(found)}." if found else ""


def speed() -> str:
    """What `experiments.bench` measured last of each network and form, as Markdown; nothing where it measured nothing."""
    last = {(line["network"], line["form"]): line for line in measurements.lines("bench") if "network" in line}
    if not last:
        return ""
    rows = ["**A training step on the CPU beside PyTorch's (eager), in alternation**", ""]
    rows += ["| | layers | times PyTorch's speed (quartiles) | seconds | PyTorch | pairs | device |", "|---|---|---|---|---|---|---|"]
    for (network, form), line in sorted(last.items()):
        ratio = f"{line['ratio']:.2f} ({line['low']:.2f} to {line['high']:.2f})"
        times = f"{line['seconds']:.2f} | {line['torch_seconds']:.2f} | {line['pairs']}"
        rows.append(f"| {network}, {line['size']}x{line['size']}, batch {line['batch']} | {form} | {ratio} | {times} | {line['device']} |")
    return "\n".join(rows)


def write_readme() -> None:
    """Put every table that has results between the marks in README.md."""
    with open(README, encoding="utf-8") as file:
        text = file.read()
    with open(README, "w", encoding="utf-8") as file:
        file.write(_with_results(text))


def _with_results(text: str) -> str:
    measured = [name for name in spec.names("experiments.papers") if measurements.lines(name)]
    tables = "\n\n".join([*(markdown(name) + pictures(name) for name in measured), *filter(None, [speed()])])
    pattern = re.escape(MARKS[0]) + ".*?" + re.escape(MARKS[1])
    if not re.search(pattern, text, re.DOTALL):
        raise UserError(f"README.md has no place for results: expected the lines\n{MARKS[0]}\n{MARKS[1]}")
    return re.sub(pattern, lambda _: f"{MARKS[0]}\n\n{tables}\n\n{MARKS[1]}", text, flags=re.DOTALL)


def _cell(values: Sequence[float], sign: str = "") -> str:
    mean, half = interval(values)
    return f"{100 * mean:{sign}.1f}" + (f" ± {100 * half:.1f}" if half == half else "")


if __name__ == "__main__":
    cli.main(run)
