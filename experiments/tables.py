"""Print, train, check and draw tables of results with seeds, intervals, provenance and the papers' numbers.

python -m experiments.tables camvid_small            print the results in experiments/results/camvid_small.jsonl (--format=latex, csv)
python -m experiments.tables camvid_small --plan     estimate the remaining runs: FLOPs, parameters, minutes, memory; needs no data
python -m experiments.tables camvid_small --run      train the missing rows and seeds, then print (--jobs=2: two at once)
python -m experiments.tables reference --run --rows='code*'   train only the rows of these names, and those that they start from
python -m experiments.tables camvid_segnet --scale=paper --rehearse=20 --size=144x192   train 20 steps of each row; records nothing
python -m experiments.tables camvid_small --check    exit with 1 if a mean is outside its row's tolerance around the paper's number
python -m experiments.tables camvid_small --plot=a.svg  draw curves over the label fraction if the rows differ in it, else bars
                                                     (the results page shows experiments/results/pictures/<table>.png)
python -m experiments.tables camvid_small --picture  draw predictions and reconstructions, from the runs of the first seed that has them all
python -m experiments.tables --readme                write every table with results into experiments/results/README.md

Each row and seed has one workdir below --runs.  The row's command trains it, it is scored once on the table's split, and its result is one
line of the results file.  Finished rows do not run again; interrupted rows resume.  With --minutes=60 rows run in the order of the table's
TIERS, or else seed by seed, until the minutes are over; the same command continues.  --scale=paper selects rows of the paper's size instead
of rows for a laptop; a table never mixes both.
"""

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
from .compression import results as compressed
from .console import cli
from .generating import results as generated
from .machine import commands, copies, process
from .recorded import measurements
from .restorations import results as restored
from .soaking import journal
from .study import curves, figures, formats, origins, plan, plot, primary, rehearsal, statements, summary, training

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
    """Run the command; return its exit code."""
    flags = cli.parse(
        argv,
        __doc__,
        word="table",
        table=("", "name of a file in experiments/papers"),
        scale=("cpu", "scale of the rows: cpu, gpu or paper"),
        format=("markdown", "markdown, latex or csv"),
        plan=(False, "print the estimated cost of the remaining rows"),
        run=(False, "train the missing rows and seeds"),
        rows=("", "pattern of row names, such as 'code*': run, plan or rehearse these and the rows that they start from"),
        runs=("runs", "folder of the workdirs"),
        jobs=(1, "number of concurrent runs, each on its own GPU or part of the cores"),
        **copies.OPTIONS,
        together=(False, "with --run: train rows and seeds of the same shape as one program, for small networks on a GPU"),
        minutes=(0.0, "with --run: minutes after which it saves and stops; the same command continues; 0: no limit"),
        set=("", "config fields for every row, comma-separated: data.root=/data/camvid,data.threads=4; --run allows only some"),
        rehearse=(0, "train every row for this number of steps, to check that it runs"),
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
    if flags.rows:
        paper.ROWS = papers.selected(paper.ROWS, flags.rows)
    extra = _assigned(flags.set)
    if flags.plan:
        print(plan.markdown(flags.table, paper, extra, flags.jobs, flags.runs))
        return 0
    if flags.rehearse:
        lines, complete = rehearsal.rehearse(flags.table, paper, flags.runs, extra, flags.jobs, flags.rehearse, _size(flags.size))
        print(lines)
        return 0 if complete else 1
    if flags.run and (others := [name for name in extra if name not in MAY_BE_SET]):
        raise UserError(
            f"Expected --set to change only {', '.join(MAY_BE_SET)} with --run, which records the rows unchanged; got {', '.join(others)}. "
            "Change the rows in experiments/papers, or leave out --run."
        )
    if flags.together and not (flags.copies == 1 and not flags.cluster):
        raise UserError("--together trains all rows in one process; leave out --copies and --cluster.")
    if flags.together:
        return _together(flags)
    if flags.cluster:
        if not flags.run:
            raise UserError("--cluster starts copies of --run; set --run, too.")
        line = cli.taken(argv[1:], "cluster", "")[1]
        return copies.submit("tables", line, flags.cluster, flags.copies, os.path.join(flags.runs, flags.table))
    deadline = commands.deadline(flags.minutes)
    given = (flags.table, paper, flags.runs, extra, flags.jobs, flags.copies > 1, deadline)
    failed = training.measure_missing(*given) if flags.run else {}
    if flags.run and time.monotonic() > deadline - commands.RESERVE and (left := len(training.missing(flags.table, paper))):
        print(f"\n{left} rows and seeds are not measured: {commands.OVER}.\n", file=sys.stderr)
        if not measurements.current(flags.table, paper):
            return 0
    if failed:
        print("\nSome rows are not measured; the same command tries them again.\n", file=sys.stderr)
    if flags.check:
        return max(check(flags.table, paper), int(bool(failed)))
    if flags.picture:
        print("\n".join(figures.write(flags.table, paper, flags.runs)))
    if flags.plot:
        plot.write(flags.plot, paper, measurements.current(flags.table, paper))
    if not (flags.picture or flags.plot):
        print(printed(flags.table, flags.format, flags.scale, training.failures(flags.table, paper, flags.runs)))
        print(f"\nAs a page: {process.launcher()}report {flags.table}", file=sys.stderr)
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
        paper = papers.at_scale(spec.module(papers.__name__, table), flags.scale)  # its learning rates may just have been measured
        fleets.measure(table, paper, workshop, deadline, tiers)
        fleets.record(table, paper, workshop.folder)
    print(printed(flags.table, flags.format, flags.scale))
    return 0


def printed(
    table: str, style: str = "markdown", scale: str = "cpu", failed: Mapping[tuple[str, int], str] | None = None, **how: Any
) -> str:
    """Format the measured or `failed` rows of one scale in one of the FORMATS; `how` are the format's arguments."""
    paper = papers.at_scale(spec.module(papers.__name__, table), scale)
    results = measurements.current(table, paper)
    if not results and not failed:
        raise UserError(f"Nothing of {table} is measured yet. Run python -m experiments.tables {table} --run.")
    discussed = getattr(paper, "NOTE_ROWS", [row.name for row in paper.ROWS if row.command != "pretrain"])
    if set(discussed) - {line["row"] for line in results}:
        paper.NOTE = ""  # the note discusses rows that are not measured
    lines = summary.lines(paper, results, failed or {})
    paper.OPENING = [*statements.opening(table), *curves.markdown(paper, results)]
    paper.CONTRASTS, paper.ORIGINS = primary.paragraphs(paper, results), origins.paragraphs(paper, [line.row for line in lines])
    return formats.FORMATS[style](paper, summary.metrics(paper, results), lines, **how)


def check(table: str, paper: Any) -> int:
    """Print the means outside their tolerance around the paper's numbers; return 1 for such a mean or without any comparison, else 0."""
    published = sum(len(row.paper) for row in paper.ROWS)
    if not published:
        raise UserError(f"Expected rows with published numbers; {table} has none at this scale. Set --scale=paper, if the table has it.")
    away, missing = summary.disagreements(paper, measurements.current(table, paper))
    compared = published - len(missing)
    agreement = f"{table}: {compared - len(away)} of {compared} measured numbers are within tolerance of the paper's"
    print("\n".join([*missing, *away, f"{agreement}; {len(missing)} of {published} are not measured."]))
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
    rows = ["**A training step on the CPU in aeseg and in PyTorch (`mae`: ViTMAE of transformers), in alternation**", ""]
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
"""Packages whose files README.md lists."""


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
    """Write the results page and the list of parts in README.md; raise UserError if the page would lose a measured row."""
    if lost := _not_shown():
        raise UserError(
            f"Expected every measured row on the page; it would lose {'; '.join(lost)}. Restore the rows in experiments/papers, add "
            "renames to aeseg/renames.py, or remove their lines from experiments/results."
        )
    with open(README, encoding="utf-8") as file:
        text = statements.written(_with_results(file.read()))
    files.write(README, text)
    with open(FRONT, encoding="utf-8") as file:
        text = _with_parts(file.read())
    files.write(FRONT, text)


def _with_parts(text: str) -> str:
    """Return the front page with the list of parts between its marks."""
    return re.sub(f"({re.escape(PART_MARKS[0])}).*?({re.escape(PART_MARKS[1])})", rf"\1\n\n{parts()}\n\n\2", text, flags=re.DOTALL)


def _not_shown() -> list[str]:
    """Return the measured rows that no table shows with all their seeds, because the table or the row was removed or changed."""
    lost = []
    for name in measurements.tables():
        paper = spec.module(papers.__name__, name) if name in spec.names(papers.__name__) else None
        scales = {row.scale for row in paper.ROWS} if paper else set()
        shown = {(line["row"], line["seed"]) for scale in scales for line in measurements.current(name, papers.at_scale(paper, scale))}
        lost += [f"{name}: {row}" for row in dict.fromkeys(row for row, seed in _measured(name) if (row, seed) not in shown)]
    return lost


def _measured(table: str) -> list[tuple[str, int]]:
    return [(line["row"], line["seed"]) for line in measurements.lines(table)]


def _with_results(text: str) -> str:
    """Return the text with the tables between its marks; long tables are folded, and tunings come last, folded completely."""
    modules = {name: spec.module(papers.__name__, name) for name in spec.names(papers.__name__)}
    scales = [(name, scale) for name, paper in modules.items() for scale in papers.SCALES if scale in {row.scale for row in paper.ROWS}]
    measured = [(name, scale) for name, scale in scales if measurements.current(name, papers.at_scale(modules[name], scale))]
    tunings = [printed(name, scale=scale).partition("\n\n") for name, scale in measured if modules[name].SPLIT == "validation"]
    others = [(name, scale) for name, scale in measured if modules[name].SPLIT != "validation"]
    drawn = dict(reversed(measured))  # the pictures show the first scale's rows
    written = [printed(name, scale=scale, longest=LONGEST) + (pictures(name) if scale == drawn[name] else "") for name, scale in others]
    folded = [formats.folded(title.strip("*"), rest) for title, _, rest in tunings]
    further = (speed(), journal.table(), restored.table(), compressed.table(), generated.table())
    tables = "\n\n".join([*written, *filter(None, further), *folded])
    pattern = re.escape(MARKS[0]) + ".*?" + re.escape(MARKS[1])
    if not re.search(pattern, text, re.DOTALL):
        raise UserError(f"Expected these lines in {README}:\n{MARKS[0]}\n{MARKS[1]}")
    return re.sub(pattern, lambda _: f"{MARKS[0]}\n\n{tables}\n\n{MARKS[1]}", text, flags=re.DOTALL)


def _assigned(text: str) -> dict[str, str]:
    """Parse `data.root=/data,window=(64,64)` to {"data.root": "/data", "window": "(64,64)"}."""
    items = [item for item in re.split(r",(?![^(]*\))", text) if item]
    if wrong := [item for item in items if "=" not in item]:
        raise UserError(f"Expected --set=name=value,name=value; got {wrong[0]!r}. Write --set=data.root=/data/camvid,data.threads=4.")
    return dict(item.split("=", 1) for item in items)


def _size(text: str) -> tuple[int, ...]:
    """Parse 144x192 to (144, 192), and "" to ()."""
    if text and not re.fullmatch(r"[1-9]\d*x[1-9]\d*", text):
        raise UserError(f"A size is height x width; got --size={text!r}. Set --size=144x192.")
    return tuple(int(side) for side in text.split("x")) if text else ()


if __name__ == "__main__":
    cli.main(run)
