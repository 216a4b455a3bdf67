"""Print, train, check and draw tables of results, with seeds, intervals and provenance, beside the papers' numbers.

python -m experiments.tables camvid_small            print what experiments/results/camvid_small.jsonl holds (--format=latex, csv)
python -m experiments.tables camvid_small --plan     estimate the remaining runs: FLOPs, parameters, minutes, memory; needs no data
python -m experiments.tables camvid_small --run      train the rows and seeds that are missing, then print (--jobs=2: two at once)
python -m experiments.tables camvid_segnet --scale=paper --rehearse=20 --size=144x192   train 20 steps of each row; records nothing
python -m experiments.tables camvid_small --check    exit with 1 if a mean is outside its row's tolerance around the paper's number
python -m experiments.tables camvid_small --plot=a.svg  draw curves over the label fraction if the rows differ in it, else bars
                                                     (the results page shows experiments/results/pictures/<table>.png)
python -m experiments.tables camvid_small --picture  draw predictions and reconstructions, from the runs of the first seed
python -m experiments.tables --readme                write every table with results into experiments/results/README.md

A row and seed is one workdir below --runs, trained by the entry point that its row names and scored once on the table's
split; its result is one line of the results file.  Finished rows are not run again; interrupted rows continue.
--scale=paper takes the rows of the paper's size instead of rows for a laptop; a table never mixes both.
"""

import importlib
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from aeseg import files, spec
from aeseg.runs import configs
from aeseg.runs.workdir import MAY_CHANGE
from aeseg.types import UserError

from . import papers
from .console import cli
from .machine import commands, process
from .soaking import journal
from .study import figures, formats, measurements, plan, plot, rehearsal, summary

HERE = os.path.dirname(os.path.abspath(__file__))
README = os.path.join(HERE, "results", "README.md")
FRONT = os.path.join(os.path.dirname(HERE), "README.md")
PART_MARKS = ("<!-- parts: written by `python -m experiments.tables --readme` -->", "<!-- end of parts -->")
LONGEST = 8
"""Largest number of rows that the results page shows unfolded."""
MAY_BE_SET = ("data.root", *MAY_CHANGE)
"""Fields that do not affect results."""
MARKS = ("<!-- results: written by `python -m experiments.tables --readme` -->", "<!-- end of results -->")


def run(argv: Sequence[str]) -> int:
    """The entry point; returns the exit code."""
    flags = cli.parse(
        argv,
        __doc__,
        word="table",
        table=("", "a file of experiments/papers"),
        scale=("cpu", "scale of the rows: cpu, gpu or paper"),
        format=("markdown", "markdown, latex or csv"),
        plan=(False, "print the estimated cost of the remaining rows"),
        run=(False, "train the missing rows and seeds"),
        runs=("runs", "folder of the workdirs"),
        jobs=(1, "number of concurrent runs, each on its own GPU or part of the cores"),
        together=(False, "with --run: train rows and seeds of one shape as one program, for small networks on a GPU"),
        minutes=(0.0, "with --together: minutes after which it saves and stops; 0 has no limit"),
        set=("", "config fields for every row, comma-separated: data.root=/data/camvid,data.threads=4; --run allows only some"),
        rehearse=(0, "number of steps to train every row for, to check that it runs"),
        size=("", "height x width of a rehearsal's images, such as 144x192; default the rows' sizes"),
        check=(False, "exit with 1 if a mean is outside its row's tolerance"),
        plot=("", "file to draw the table into: .png, .svg, .pdf"),
        picture=(False, "draw predictions and reconstructions into experiments/results/pictures"),
        readme=(False, "write the tables into experiments/results/README.md"),
    )
    if flags.readme:
        write_readme()
        return 0
    if flags.format not in formats.FORMATS:
        raise UserError(f"The formats are {', '.join(formats.FORMATS)}; got {flags.format!r}. Set --format to one of these.")
    paper = papers.at_scale(spec.module(papers.__name__, flags.table), flags.scale)
    extra = _assigned(flags.set)
    if flags.plan:
        print(plan.markdown(flags.table, paper, extra, flags.jobs, flags.runs))
        return 0
    if flags.rehearse:
        told, whole = rehearsal.rehearse(flags.table, paper, flags.runs, extra, flags.jobs, flags.rehearse, _size(flags.size))
        print(told)
        return 0 if whole else 1
    if flags.run and (others := [name for name in extra if name not in MAY_BE_SET]):
        raise UserError(
            f"What --run records is of the rows as they are: --set takes {', '.join(MAY_BE_SET)} there; got {', '.join(others)}. "
            "Change the rows in experiments/papers, or leave --run out."
        )
    if flags.together:
        return _together(flags)
    failed = measurements.measure_missing(flags.table, paper, flags.runs, extra, flags.jobs) if flags.run else {}
    if failed:
        print("\nNot all was measured; the same command tries again.\n", file=sys.stderr)
    if flags.check:
        return max(check(flags.table, paper), int(bool(failed)))
    if flags.picture:
        print("\n".join(figures.write(flags.table, paper, flags.runs)))
    if flags.plot:
        plot.write(flags.plot, paper, measurements.current(flags.table, paper))
    if not (flags.picture or flags.plot):
        print(printed(flags.table, flags.format, flags.scale, measurements.failures(flags.table, paper, flags.runs)))
        print(f"\nTo look at it: {process.launcher()}report {flags.table}", file=sys.stderr)
    return 1 if failed else 0


def _together(flags: Any) -> int:
    """Measure a table's rows in shared programs, after the table that selects its settings; print the table."""
    from .study import fleets

    deadline = time.time() + 60 * flags.minutes if flags.minutes else float("inf")
    workshop = fleets.Workshop(os.path.join(flags.runs, "together"), commands.say)
    stages = getattr(spec.module(papers.__name__, flags.table), "STAGES", ((flags.table, slice(None)),))
    for table, tiers in stages:
        fleets.missing(table, papers.at_scale(spec.module(papers.__name__, table), flags.scale), workshop, tiers)
    for table, tiers in stages:
        paper = papers.at_scale(importlib.reload(spec.module(papers.__name__, table)), flags.scale)  # rates may have just been measured
        fleets.measure(table, paper, workshop, deadline, tiers)
        fleets.record(table, paper, workshop.folder)
    print(printed(flags.table, flags.format, flags.scale))
    return 0


def printed(
    table: str, style: str = "markdown", scale: str = "cpu", failed: Mapping[tuple[str, int], str] | None = None, **how: Any
) -> str:
    """Format the measured or `failed` rows of one scale in one of the FORMATS; `how` are its arguments."""
    paper = papers.at_scale(spec.module(papers.__name__, table), scale)
    results = measurements.current(table, paper)
    if not results and not failed:
        raise UserError(f"Nothing of {table} has been measured. Run python -m experiments.tables {table} --run.")
    spoken_of = getattr(paper, "SPEAKS_OF", [row.name for row in paper.ROWS if row.command != "pretrain"])
    if set(spoken_of) - {line["row"] for line in results}:
        paper.NOTE = ""  # it discusses rows that are not measured
    return formats.FORMATS[style](paper, summary.metrics(paper, results), summary.lines(paper, results, failed or {}), **how)


def check(table: str, paper: Any) -> int:
    """Print the means outside their tolerance around the paper's numbers; return 1 if there are any, or none was compared, else 0."""
    published = sum(len(row.paper) for row in paper.ROWS)
    if not published:
        raise UserError(f"Expected rows with published numbers; {table} has none at this scale. Set --scale=paper, if it has that.")
    away, missing = summary.disagreements(paper, measurements.current(table, paper))
    compared = published - len(missing)
    told = f"{table}: {compared - len(away)} of {compared} measured numbers are as near to the paper's as they must be"
    print("\n".join([*missing, *away, f"{told}; {len(missing)} of {published} are not measured."]))
    return 1 if away or not compared else 0


def pictures(table: str) -> str:
    """Return Markdown for a table's plot and links to its other pictures."""
    folder = os.path.join(measurements.RESULTS, "pictures")
    drawn = set(os.listdir(folder)) if os.path.isdir(folder) else set()
    shown = f"\n\n![The means of {table}, and their intervals](pictures/{table}.png)" if f"{table}.png" in drawn else ""
    names = {f"{table}.jpg": "predictions", f"{table}_reconstructions.jpg": "reconstructions"}
    links = [f"[{text}](pictures/{name})" for name, text in names.items() if name in drawn]
    return shown + (f"\n\nPictures: {', '.join(links)}." if links else "")


def speed() -> str:
    """Return the last results of `experiments.bench` for each network and form, as Markdown; "" without results."""
    last = {(line["network"], line["form"]): line for line in measurements.lines("bench") if "network" in line}
    if not last:
        return ""
    rows = ["**A training step on the CPU beside PyTorch's (`mae`: ViTMAE of transformers), in alternation**", ""]
    rows += ["| | layers | times PyTorch's speed (quartiles) | seconds | PyTorch | pairs | device |", "|---|---|---|---|---|---|---|"]
    for (network, form), line in sorted(last.items()):
        ratio = f"{line['ratio']:.2f} ({line['low']:.2f} to {line['high']:.2f})"
        times = f"{line['seconds']:.2f} | {line['torch_seconds']:.2f} | {line['pairs']}"
        rows.append(f"| {network}, {line['size']}x{line['size']}, batch {line['batch']} | {form} | {ratio} | {times} | {line['device']} |")
    return "\n".join(rows)


PARTS = {
    "autoencoders": "aeseg.methods",
    "encoders": "aeseg.models.encoders",
    "decoders": "aeseg.models.decoders",
    "heads": "aeseg.models.heads",
    "data sets": "aeseg.data.sources",
}
"""Packages whose files the front page lists."""


def parts() -> str:
    """Return a table of all parts, with the first line of each file."""
    lines = ["| | |", "|---|---|"]
    for kind, package in PARTS.items():
        listed = spec.names(package)
        if kind == "autoencoders":
            first = {name: (spec.module(package, name).__doc__ or "").strip().splitlines()[0] for name in listed}
            lines += [f"| `{name}` | {first[name]} |" for name in configs.autoencoders()]
            listed, kind = [name for name in listed if name not in configs.autoencoders()], "segmenters"
        lines.append(f"| {kind} | {', '.join(f'`{name}`' for name in listed)} |")
    return "\n".join(lines)


def write_readme() -> None:
    """Write all tables with results between the marks of the results page; UserError if a measured row would not be shown."""
    if lost := _not_shown():
        raise UserError(
            f"Expected every measured row on the page; it would lose {'; '.join(lost)}. Restore the rows in experiments/papers, say what "
            "was renamed in aeseg/renames.py, or take their lines out of experiments/results."
        )
    with open(README, encoding="utf-8") as file:
        text = _with_results(file.read())
    files.write(README, text)
    with open(FRONT, encoding="utf-8") as file:
        text = _with_parts(file.read())
    files.write(FRONT, text)


def _with_parts(text: str) -> str:
    """Return the front page with the list of parts between its marks."""
    return re.sub(f"({re.escape(PART_MARKS[0])}).*?({re.escape(PART_MARKS[1])})", rf"\1\n\n{parts()}\n\n\2", text, flags=re.DOTALL)


def _not_shown() -> list[str]:
    """Return the measured rows that no table shows: the row was removed or changed."""
    lost = []
    for name in spec.names(papers.__name__):
        paper = spec.module(papers.__name__, name)
        scales = {row.scale for row in paper.ROWS}
        shown = {line["row"] for scale in scales for line in measurements.current(name, papers.at_scale(paper, scale))}
        lost += [f"{name}: {row}" for row in dict.fromkeys(line["row"] for line in measurements.lines(name)) if row not in shown]
    return lost


def _with_results(text: str) -> str:
    """Return the text with the tables between its marks; long tables are folded, and tunings come last, folded completely."""
    modules = {name: spec.module(papers.__name__, name) for name in spec.names(papers.__name__)}
    scales = [(name, scale) for name, paper in modules.items() for scale in papers.SCALES if scale in {row.scale for row in paper.ROWS}]
    measured = [(name, scale) for name, scale in scales if measurements.current(name, papers.at_scale(modules[name], scale))]
    tunings = [printed(name, scale=scale).partition("\n\n") for name, scale in measured if modules[name].SPLIT == "validation"]
    others = [(name, scale) for name, scale in measured if modules[name].SPLIT != "validation"]
    drawn = dict(reversed(measured))  # the first scale's rows are on the pictures
    written = [printed(name, scale=scale, longest=LONGEST) + (pictures(name) if scale == drawn[name] else "") for name, scale in others]
    folded = [formats.folded(title.strip("*"), rest) for title, _, rest in tunings]
    tables = "\n\n".join([*written, *filter(None, [speed(), journal.table()]), *folded])
    pattern = re.escape(MARKS[0]) + ".*?" + re.escape(MARKS[1])
    if not re.search(pattern, text, re.DOTALL):
        raise UserError(f"{README} has no place for results: expected the lines\n{MARKS[0]}\n{MARKS[1]}")
    return re.sub(pattern, lambda _: f"{MARKS[0]}\n\n{tables}\n\n{MARKS[1]}", text, flags=re.DOTALL)


def _assigned(described: str) -> dict[str, str]:
    """Parse `data.root=/data,window=(64,64)` to {"data.root": "/data", "window": "(64,64)"}."""
    items = [item for item in re.split(r",(?![^(]*\))", described) if item]
    if wrong := [item for item in items if "=" not in item]:
        raise UserError(f"Expected --set=name=value,name=value; got {wrong[0]!r}. Write --set=data.root=/data/camvid,data.threads=4.")
    return dict(item.split("=", 1) for item in items)


def _size(described: str) -> tuple[int, ...]:
    """Parse 144x192 to (144, 192), and "" to ()."""
    if described and not re.fullmatch(r"[1-9]\d*x[1-9]\d*", described):
        raise UserError(f"A size is height x width; got --size={described!r}. Write --size=144x192.")
    return tuple(int(side) for side in described.split("x")) if described else ()


if __name__ == "__main__":
    cli.main(run)
