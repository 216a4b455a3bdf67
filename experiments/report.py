"""Write runs, comparisons and tables as one HTML page.

python -m experiments.report runs/segment                       settings, curves, scores, predictions with a slider, worst first
python -m experiments.report runs/segment runs/scratch          several runs: their curves in common charts, their settings side by side
python -m experiments.report comparisons/my_images              a comparison: verdict, curves by number of labels, gains
python -m experiments.report scenes drive_labels --output=a.html  the measured rows of tables of experiments/papers

The page needs no network and is smaller than 15 MB; names and settings in it are plain text.  `report` predicts the images of --split with
each run.
"""

import dataclasses
import functools
import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from aeseg import files
from aeseg.data.files import shown
from aeseg.runs.data import SPLITS
from aeseg.types import UserError

from .console import cli, predictors
from .console.progress import Progress
from .machine import process
from .machine.provenance import provenance
from .pages import comparison_sections, comparisons, page, run_sections, runs, table_sections
from .pages.markup import Markup
from .pages.runs import RunPage

Sections = list[tuple[str, str, Markup]]


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    named = [word for word in argv[1:] if not word.startswith("-")]
    flags = cli.parse(
        [argv[0], *(word for word in argv[1:] if word.startswith("-"))],
        __doc__,
        output=("report.html", "file to write"),
        split=("test", "split to predict: train, validation or test"),
        most=(200, "number of images to predict per run, evenly spread; 0: all"),
        best=(False, "use the best checkpoint on validation instead of the newest"),
        **predictors.DATA,
        title=("", "title of the page; default: the names of its contents"),
    )
    if not named:
        raise UserError("Expected workdirs, comparisons or tables; got none. Write: report runs/segment.")
    if flags.split not in SPLITS:
        raise UserError(f"The splits are {', '.join(SPLITS)}; got {flags.split!r}. Set --split to one of these.")
    if flags.most < 0:
        raise UserError(f"Expected a number of images, or 0 for all; got --most={flags.most}. Set --most=200.")
    kinds = {path: kind(path) for path in dict.fromkeys(named)}
    process.start()
    pages = [_gathered(path, flags, len(named)) for path in kinds if kinds[path] == "run"]
    names = Counter(one.name for one in pages)
    pages = [dataclasses.replace(one, name=_longer(one.path)) if names[one.name] > 1 else one for one in pages]
    sections = _of_runs(pages)
    for number, path in enumerate(path for path in kinds if kinds[path] == "comparison"):
        one = comparisons.gather(path)
        sections.append((f"comparison{number}", one.name, comparison_sections.comparison(one, number)))
        if best := comparisons.winner(one):
            shown_best = dataclasses.replace(_gathered(best, flags, len(named) + 1), name=f"winner of {one.name}")
            sections.append((f"winner{number}", shown_best.name, run_sections.run(shown_best, f"winner{number}")))
    for number, path in enumerate(path for path in kinds if kinds[path] == "table"):
        sections.append((f"table{number}", path, table_sections.table(path, number)))
    write(flags.output, flags.title or ", ".join(os.path.basename(os.path.normpath(path)) for path in kinds), sections)
    for one in pages:
        if one.missing:
            print(f"Note: {shown(one.path)} has no pictures: {shown(one.missing)}")
    print(f"page        {flags.output}", flush=True)
    return 0


def _longer(path: str) -> str:
    """Return the last two parts of a path."""
    return "/".join(os.path.abspath(path).split(os.sep)[-2:])


def kind(path: str) -> str:
    """Return the kind of a path or name: "run", "comparison" or "table"; raise UserError for others."""
    if comparisons.is_comparison(path):
        return "comparison"
    if os.path.isfile(os.path.join(path, "config.json")):
        return "run"
    if table_sections.is_table(path):
        return "table"
    raise UserError(
        f"Expected the workdir of a run, the folder of a comparison, or a table; {shown(path)} is none of these. "
        "Name a folder with a config.json, or with a results.jsonl."
    )


def write(path: str, title: str, sections: Sections) -> None:
    """Write a page atomically; raise UserError if it is too large."""
    made = provenance()
    versions = ", ".join(f"{name} {version}" for name, version in dict(made["versions"]).items())  # type: ignore[call-overload]
    text = page.page(title, sections, f"commit {made['commit']}, {versions}")
    if (size := len(text.encode())) > page.LARGEST:
        raise UserError(
            f"Expected a page of at most {page.LARGEST / 2**20:.0f} MiB; got {size / 2**20:.1f}. Give fewer runs, or lower --most."
        )
    files.write(path, text)


def _gathered(path: str, flags: Any, together: int) -> RunPage:
    """Return a run's page; its pictures get an equal part of the page's bytes."""
    most = flags.most or 10**9
    with Progress(f"predicting for {shown(path)}", 1) as progress:
        at: Callable[[int, int], None] = lambda done, of: progress.at(0, done / of)  # noqa: E731
        look = functools.partial(predictors.chosen_data, flags)
        return runs.gather(path, flags.split, most, runs.CARD_BYTES // together, flags.best, at, look)


def _of_runs(pages: Sequence[RunPage]) -> Sections:
    each = [(f"run{number}", one.name, run_sections.run(one, f"run{number}")) for number, one in enumerate(pages)]
    curves = ("curves", "Curves", run_sections.overlaid(pages))
    return [("runs", "Runs", run_sections.compared(pages)), curves, *each] if len(pages) > 1 else [*each, curves]


if __name__ == "__main__":
    cli.main(run)
