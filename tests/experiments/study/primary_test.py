"""experiments/study/primary.py: what was named before the first score is tested, corrected and told from the rest."""

import re
import types

import pytest
from scipy import stats

from aeseg import spec
from experiments import papers
from experiments.papers import Row
from experiments.study import primary
from tests.experiments.study import registrations

ROWS = tuple(
    Row(f"{name}, {labels}", "segment", "segment", compare="" if name == "scratch" else f"scratch, {labels}")
    for labels in (1, 4)
    for name in ("scratch", "a", "b")
)
GAINS = {"scratch": (0.0, 0.0, 0.0, 0.0, 0.0), "a": (0.05, 0.06, 0.04, 0.05, 0.07), "b": (0.02, -0.01, 0.0, 0.01, -0.02)}


def paper(primary, **fields):
    return types.SimpleNamespace(ROWS=ROWS, METRICS=("mean_iou",), SEEDS=5, SPLIT="test", REGISTERED="abc1234", PRIMARY=primary, **fields)


def measured(seeds=5, rows=ROWS):
    return [
        {"row": row.name, "seed": seed, "numbers": {"mean_iou": 0.5 + 0.1 * seed + GAINS[row.name.partition(",")[0]][seed]}}
        for row in rows
        for seed in range(seeds)
    ]


AGAINST = {name: ((f"{name}, 1", "scratch, 1"), (f"{name}, 4", "scratch, 4")) for name in ("a", "b")}


def test_contrasts_are_paired_t_tests_with_holms_correction():
    found = {each.name: each for each in primary.contrasts(paper(AGAINST), measured())}
    for name, contrast in found.items():
        assert contrast.test.p == pytest.approx(stats.ttest_1samp(GAINS[name], 0).pvalue)
        assert contrast.seeds == contrast.needed == 5
    assert found["a"].corrected == pytest.approx(2 * found["a"].test.p)  # the smaller of two
    assert found["b"].corrected == pytest.approx(found["b"].test.p)


def test_a_contrast_that_is_not_measured_yet_counts_in_the_correction():
    of_a = [row for row in ROWS if not row.name.startswith("b")]
    a, b = primary.contrasts(paper(AGAINST), measured(rows=of_a))
    assert (b.test, b.corrected) == (None, None)
    assert a.corrected == pytest.approx(2 * a.test.p)


def test_a_table_says_what_is_primary_and_what_is_exploratory():
    [text] = primary.paragraphs(paper(AGAINST), measured())
    assert text.startswith("Named before the first test score, in commit abc1234: the primary contrasts in mean iou, by a paired t-test, ")
    assert "with Holm's correction over 2. a: +5.4 ± 1.4 points, p 0.000 (corrected 0.001); 5 seeds could show " in text
    assert text.endswith("All other comparisons of this table are exploratory.")
    [early] = primary.paragraphs(paper(AGAINST), measured(seeds=2))
    assert "2 of 5 seeds could show " in early
    assert "with probability 0.8, so this decides nothing yet; b: " in early
    [single] = primary.paragraphs(paper(AGAINST), measured(seeds=1))
    assert "a: +5.0 points, 1 of 5 seeds, so neither interval nor p" in single
    [none] = primary.paragraphs(paper(AGAINST), [])
    assert "a: not measured; b: not measured." in none


def test_all_comparisons_are_exploratory_if_none_was_named_before():
    bare = types.SimpleNamespace(ROWS=ROWS, METRICS=("mean_iou",), SEEDS=5, SPLIT="test")
    [text] = primary.paragraphs(bare, measured())
    assert text == "All comparisons of this table are exploratory: none was named before its first test score."
    bare.SPLIT = "validation"
    assert primary.paragraphs(bare, measured()) == [], "trials on validation are not comparisons"
    bare.SPLIT, bare.ROWS = "test", tuple(row._replace(compare="") for row in ROWS)
    assert primary.paragraphs(bare, measured()) == []


def registering():
    return [name for name in spec.names(papers.__name__) if hasattr(spec.module(papers.__name__, name), "REGISTERED")]


@pytest.mark.parametrize("table", registering())
def test_primary_contrasts_are_rows_of_the_table_and_their_registration_is_written_down(table):
    module = spec.module(papers.__name__, table)
    assert primary.MARK in (module.__doc__ or "")
    assert re.fullmatch(r"[0-9a-f]{7,}|", module.REGISTERED), "empty until the commit is known"
    rows = {row.name for row in module.ROWS}
    named = {row for pairs in getattr(module, "PRIMARY", {}).values() for pair in pairs for row in pair}
    assert named <= rows, sorted(named - rows)


@pytest.mark.parametrize("table", registering())
def test_the_registration_is_what_its_commit_said_before_any_score(table):
    registrations.check(table, spec.module(papers.__name__, table).REGISTERED, primary.MARK)
