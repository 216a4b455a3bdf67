"""experiments/study/statements.py: each statement of a text has a line, a verdict from recorded rows, and a command."""

import fnmatch
import os

import pytest

from aeseg import spec
from experiments import papers
from experiments.papers import reference, scenes
from experiments.recorded import descriptions, measurements
from experiments.study import statements
from experiments.study.claims import FAILS, HOLDS, UNMEASURED
from experiments.texts import reference as text
from tests.experiments.study import registrations

ROWS = {"reference": papers.at_scale(reference, "cpu").ROWS, "scenes": scenes.ROWS}


@pytest.fixture
def record(tmp_path, monkeypatch):
    """A function that records the values of a metric of a row, one per seed."""
    monkeypatch.setattr(measurements, "RESULTS", str(tmp_path))

    def recorded(table, row, metric, values):
        described = descriptions.described(ROWS[table])[row]
        config = descriptions.store(descriptions.config_file(measurements.RESULTS, table), described)
        for seed, value in enumerate(values):
            line = {"row": row, "seed": seed, "split": "test", "numbers": {metric: value}, "config": config}
            measurements.append(table, {**line, "seconds": 10.0, "device": "1 x cpu", "commit": "abc"})

    return recorded


def test_a_text_without_a_measured_row_has_its_nine_lines_and_no_verdict(record):
    lines = statements.lines("reference")
    assert [line.partition(". ")[0] for line in lines] == [str(number) for number in range(1, 10)]
    assert all("**Not measured**" in line for line in lines)
    assert statements.lines("scenes") == statements.opening("scenes") == []


def test_a_verdict_stands_in_the_line_with_its_numbers_and_in_the_table_with_its_command(record):
    record("reference", "example", "psnr", [25.0, 25.2, 25.1, 25.3, 25.4])
    record("reference", "example, 1 epoch", "psnr", [20.0, 20.1, 20.2, 20.3, 20.4])
    line = statements.lines("reference")[0]
    assert line.endswith("**Holds**: 50 epochs against one, +5.00 ± 0.09 dB PSNR, 5 seeds.")
    table, said = statements.opening("reference")
    row = next(line for line in table.splitlines() if "50 epochs against one" in line)
    assert [cell.strip() for cell in row.strip("| ").split("|")][1:] == ["+5.00 ± 0.09 dB PSNR", "0.12", "1.00", "5", "holds"]
    heading = next(line for line in table.splitlines() if line.startswith("| 1. "))
    assert "| **holds** | `./launch.sh tables reference --run --rows='example*'` |" in heading
    assert "with probability 0.8" in said


def test_too_few_seeds_cannot_tell_and_say_what_they_could_show(record):
    record("reference", "example", "psnr", [25.0, 25.2, 25.1])
    record("reference", "example, 1 epoch", "psnr", [20.0, 20.1, 20.2])
    line = statements.lines("reference")[0]
    assert "**Cannot be told at this budget**: 50 epochs against one, +5.00 ± 0.25 dB PSNR, 3 seeds; so many could show 0." in line
    assert line.endswith(" dB.")


def test_rows_of_another_table_are_read_there_and_named_with_its_command(record):
    record("scenes", "pretrained", "mean_iou", [0.30, 0.31, 0.32, 0.33, 0.34])
    record("scenes", "scratch", "mean_iou", [0.30, 0.31, 0.32, 0.33, 0.34])
    tested = statements.tested("reference")[4]
    measured = {comparison.table: finding for comparison, finding in tested.findings if finding.seeds}
    assert {table: (finding.seeds, finding.verdict) for table, finding in measured.items()} == {"scenes": (5, FAILS)}
    assert tested.verdict == FAILS
    row = next(line for line in statements.opening("reference")[0].splitlines() if "scenes 64x64" in line)
    assert row.endswith("| +0.0 ± 0.0 points mIoU | 0.0 | 1.0 | 5 | does not hold | `./launch.sh tables scenes --run` |")


def test_an_exploratory_comparison_decides_nothing(record):
    exploratory = [comparison for claim in text.CLAIMS for comparison in claim.comparisons if not comparison.primary]
    [(ours, theirs)] = exploratory[0].pairs
    for row, values in ((ours, [30.0, 31, 32, 33, 34]), (theirs, [20.0, 21, 22, 23, 24.1])):
        record("reference", row, "psnr", values)
    tested = statements.tested("reference")[2]
    assert [finding.verdict for comparison, finding in tested.findings if finding.seeds] == [HOLDS]
    assert tested.verdict == UNMEASURED
    assert f"({exploratory[0].name})" in statements.opening("reference")[0]


def test_the_page_has_the_lines_between_their_marks(record):
    page = "\n".join(["before", *statements.MARKS, "after"])
    written = statements.written(page)
    assert written.startswith(f"before\n{statements.MARKS[0]}\n\n1. ")
    assert written.endswith(f"\n\n{statements.MARKS[1]}\nafter")
    assert statements.written(written) == written
    assert statements.written("no marks") == "no marks"


@pytest.mark.parametrize("claim", text.CLAIMS, ids=lambda claim: claim.says)
def test_a_claim_compares_rows_that_exist_by_metrics_that_they_have(claim):
    assert claim.comparisons
    names = {row.name for row in ROWS["reference"]}
    assert claim.rows in ("", "tuned") or fnmatch.filter(names, claim.rows)
    for comparison in claim.comparisons:
        paper = papers.at_scale(spec.module("experiments.papers", comparison.table or "reference"), comparison.scale)
        assert {row for pair in comparison.pairs for row in pair} <= {row.name for row in paper.ROWS} | {"tuned"}, comparison.name
        assert comparison.metric in paper.METRICS
        assert comparison.matters > 0
        assert comparison.bar in (0, -comparison.matters)
        if not comparison.table:
            own = {row.name for row in ROWS["reference"] if fnmatch.fnmatchcase(row.name, claim.rows)}
            assert any(row in own | {"tuned"} for pair in comparison.pairs for row in pair), "its command measures it"


def test_the_nine_statements_are_tested_by_their_primary_comparisons():
    primaries = [sum(comparison.primary for comparison in claim.comparisons) for claim in text.CLAIMS]
    assert primaries == [1, 1, 3, 2, 11, 3, 1, 1, 3]


def test_a_statement_that_was_named_later_stands_in_its_commit_as_it_stands_now_before_every_score_of_its_rows():
    later = {f"Statement {index} ": claim for index, claim in enumerate(text.CLAIMS, start=1) if claim.registered}
    assert list(later) == ["Statement 9 "]
    for start, claim in later.items():
        assert f"were named in commit {claim.registered}" in statements.opening("reference")[1]
        registrations.check("reference", claim.registered, start, claim.rows)


def test_the_results_page_says_what_follows_from_the_recorded_rows():
    with open(os.path.join(measurements.RESULTS, "README.md"), encoding="utf-8") as file:
        page = file.read()
    assert [line for line in statements.lines("reference") if line not in page] == [], "python -m experiments.tables --readme"
