"""experiments/study/formats.py: the same lines as Markdown, LaTeX and CSV."""

import csv
import io
import types

import pytest

from experiments.papers import Row
from experiments.study import formats
from experiments.study.summary import Line

PAPER = types.SimpleNamespace(TITLE="A & B", NOTE="What was tried.")
PUBLISHED = Row(
    "ours_1", "segment", "segment", compare="other", paper={"mean_iou": 41.57}, tolerance=1.0, citation="A. et al. 2020, table 2"
)


def line(differences=(0.01, 0.02, 0.03), row=PUBLISHED, values=(0.40, 0.42, 0.44), failures=()):
    return Line(row, {"mean_iou": list(values)}, list(differences), len(values), 10.0, ("1 x cpu",), ("abc",), failures)


def test_the_papers_number_is_beside_our_number():
    text = formats.markdown(PAPER, ["mean_iou"], [line(), line(row=Row("other", "segment", "segment"))])
    assert "| | mean iou | the paper's | difference of the first | seeds | seconds |" in text
    assert "| ours_1 | 42.0 ± 5.0 | 41.6 | +2.0 ± 2.5 | 3 | 10 |" in text
    assert "| other | 42.0 ± 5.0 |  | +2.0 ± 2.5 | 3 | 10 |" in text
    assert "The paper's numbers, and how far ours may be from them: ours_1: A. et al. 2020, table 2, within 1.0." in text
    assert text.endswith("\n\nWhat was tried.")


def test_rows_and_seeds_that_were_not_measured_are_named():
    rows = (PUBLISHED, Row("encoder", "pretrain", "pretrain"), Row("other", "segment", "segment"))
    paper = types.SimpleNamespace(TITLE="A", ROWS=rows, SEEDS=4)
    assert "\n\nNot measured: 1 of 4 seeds of ours_1. Not measured: all seeds of other." in formats.markdown(paper, ["mean_iou"], [line()])
    whole = [line(), line(row=rows[2])]
    assert "Not measured" not in formats.markdown(types.SimpleNamespace(TITLE="A", ROWS=rows, SEEDS=3), ["mean_iou"], whole)


def test_of_many_rows_without_a_measurement_the_first_are_named():
    rows = tuple(Row(f"row {number}", "segment", "segment") for number in range(20))
    text = formats.markdown(types.SimpleNamespace(TITLE="A", ROWS=rows, SEEDS=3), ["mean_iou"], [line(row=rows[0])])
    named = "; ".join(f"row {number}" for number in range(1, 9))
    assert f"Not measured: all seeds of {named}; and 11 more (`--plan` lists them)." in text


def test_five_pairs_have_a_bootstrap_and_a_p_value_and_three_have_none():
    text = formats.markdown(PAPER, ["mean_iou"], [line((0.01,) * 5), line()])
    assert "| bootstrap 95 % | p |" in text
    assert "| +1.0 ± 0.0 | +1.0 to +1.0 | 0.062 |" in text
    assert "| +2.0 ± 2.5 |  |  |" in text
    assert "bootstrap" not in formats.markdown(PAPER, ["mean_iou"], [line()])


def test_the_limits_of_the_tests_are_below_a_table():
    """The limits depend on the number of seeds and of comparisons: 6 seeds and 30 comparisons give other numbers."""
    five = formats.markdown(PAPER, ["mean_iou"], [line(differences=())] + [line((0.01,) * 5)] * 20)
    assert "With 5 seeds p is never below 0.0625, and a bootstrap interval of 95 % contains the mean of normal differences" in five
    assert "differences in about 84 % of cases" in five
    assert "The 20 comparisons are not corrected for their number: if nothing differed, about 1.0 of their intervals" in five
    six = formats.markdown(PAPER, ["mean_iou"], [line((0.01,) * 6)] * 30)
    assert "With 6 seeds p is never below 0.0312, and a bootstrap interval of 95 % contains the mean of normal differences" in six
    assert "differences in about 85 % of cases" in six
    assert "The 30 comparisons are not corrected for their number: if nothing differed, about 1.5 of their intervals" in six
    three = formats.markdown(PAPER, ["mean_iou"], [line(), line(), line((0.01,))])
    assert "The 2 comparisons are not corrected for their number: if nothing differed, about 0.1 of their intervals" in three
    assert "never below" not in three
    assert "corrected" not in formats.markdown(PAPER, ["mean_iou"], [line()])
    assert r"With 5 seeds p is never below 0.0625" in formats.latex(PAPER, ["mean_iou"], [line((0.01,) * 5)])


def test_special_characters_of_latex_are_escaped():
    text = formats.latex(PAPER, ["mean_iou"], [line(row=Row("a|b <c> ~^\\ 5 % {d}", "segment", "segment"))])
    assert r"a\textbar{}b \textless{}c\textgreater{} \textasciitilde{}\textasciicircum{}\textbackslash{} 5 \% \{d\}" in text


def test_a_table_with_pretrained_rows_explains_its_seconds():
    said = "Seconds are of the row's run, without its pretraining."
    assert said in formats.markdown(PAPER, ["mean_iou"], [line(), line(row=Row("other", "segment", "segment", init="denoising"))])
    assert said not in formats.markdown(PAPER, ["mean_iou"], [line()])


def test_a_pipe_in_a_name_does_not_begin_a_cell():
    text = formats.markdown(PAPER, ["mean_iou"], [line(row=Row("a|b", "segment", "segment"))])
    assert r"| a\|b | 42.0 ± 5.0 | +2.0 ± 2.5 | 3 | 10 |" in text


def test_a_papers_order_is_compared_if_its_numbers_are_not_comparable():
    """Spearman by hand: ranks 1 2 3 4 against 2 1 3 4 differ by 1 twice, 1 - 6 * 2 / (4 * 15) = 0.8."""
    rows = [line(row=Row(name, "segment", "segment"), values=(value,)) for name, value in zip("abcd", (0.1, 0.2, 0.3, 0.4), strict=True)]
    numbers = {"width": {"a": 55.0, "b": 50.0, "c": 60.0, "d": 70.0}, "depth": {"a": 1.0, "b": 2.0}, "other": {"x": 1.0}}
    orders = {name: {row: {"mean_iou": value} for row, value in order.items()} for name, order in numbers.items()}
    paper = types.SimpleNamespace(TITLE="A", METRICS=("mean_iou",), ORDERS=orders)
    text = formats.markdown(paper, ["mean_iou"], rows)
    assert "rank correlation of the paper's numbers with ours, width: mean iou +0.80 (p 0.333 of all orders of 4 rows)." in text
    assert "depth" not in text
    assert "other" not in text


def test_the_p_value_of_an_order_of_many_rows_is_marked_as_an_approximation():
    names = "abcdefghi"
    rows = [line(row=Row(name, "segment", "segment"), values=(place / 10,)) for place, name in enumerate(names)]
    order = {name: {"mean_iou": float(place if place > 1 else 1 - place)} for place, name in enumerate(names)}
    paper = types.SimpleNamespace(TITLE="A", METRICS=("mean_iou",), ORDERS={"width": order})
    assert "width: mean iou +0.98 (p 0.000 by the t approximation, 9 rows)." in formats.markdown(paper, ["mean_iou"], rows)
    paper.ORDERS["width"].pop("a")
    assert "(p 0.000 of all orders of 8 rows)." in formats.markdown(paper, ["mean_iou"], rows)


def test_a_failed_row_says_so_in_every_format():
    failed = line(values=(), differences=(), failures=("seed 0: exit code 1: no_luck",))
    assert "| ours_1 | failed | 41.6 |" in formats.markdown(PAPER, ["mean_iou"], [failed])
    assert r"Failed: ours\_1, seed 0: exit code 1: no\_luck" in formats.latex(PAPER, ["mean_iou"], [failed])
    assert formats.comma_separated(PAPER, ["mean_iou"], [failed]).endswith(",seed 0: exit code 1: no_luck")


def test_latex_escapes_its_own_characters():
    text = formats.latex(PAPER, ["mean_iou"], [line()])
    assert r"\caption{A \& B. Mean $\pm$ half of the 95 \% interval" in text
    assert r"ours\_1 & 42.0 $\pm$ 5.0 & 41.6 & +2.0 $\pm$ 2.5 & 3 & 10 \\" in text
    assert r"\begin{tabular}{lrrrrr}" in text


def test_csv_has_each_number_in_its_own_column():
    (row,) = csv.DictReader(io.StringIO(formats.comma_separated(PAPER, ["mean_iou"], [line((0.01,) * 5)])))
    assert float(row["mean_iou"]) == pytest.approx(42)
    numbers = {
        "mean_iou_half_interval": "4.9683",
        "mean_iou_paper": "41.57",
        "tolerance": "1.0",
        "difference_mean_iou": "1.0000",
        "p": "0.0625",
    }
    assert (
        row.items() >= (numbers | {"seeds": "3", "seconds": "10.0", "device": "1 x cpu", "commit": "abc", "compared_with": "other"}).items()
    )


def test_a_metric_that_is_no_fraction_has_its_unit_in_every_format():
    row = Row("autoencoder", "pretrain", "pretrain", compare="other")
    numbers = {"psnr": [20.0, 22.0, 24.0], "binary_cross_entropy": [0.55, 0.56, 0.57]}
    lines = [Line(row, numbers, [1.0, 2.0, 3.0], 3, 10.0, ("1 x cpu",), ("abc",), (), "psnr")]
    paper = types.SimpleNamespace(TITLE="A", METRICS=("psnr", "binary_cross_entropy"), ROWS=(row,), SEEDS=5)
    text = formats.markdown(paper, paper.METRICS, lines)
    assert "| | psnr, dB | binary cross entropy, nats | difference of the first | seeds | seconds |" in text
    assert "| autoencoder | 22.00 ± 4.97 | 0.5600 ± 0.0248 | +2.00 ± 2.48 | 3 | 10 |" in text
    assert "in % or the unit named" in text
    assert "\n\nNot measured: 2 of 5 seeds of autoencoder." in text, "a table of PSNR scores its autoencoders"
    [read] = csv.DictReader(io.StringIO(formats.comma_separated(paper, paper.METRICS, lines)))
    assert (read["psnr"], read["difference_psnr"], read["binary_cross_entropy"]) == ("22.0000", "2.0000", "0.5600")


def test_a_row_of_fewer_seeds_misses_only_those():
    paper = types.SimpleNamespace(TITLE="A", ROWS=(PUBLISHED._replace(seeds=3), Row("other", "segment", "segment")), SEEDS=4)
    text = formats.markdown(paper, ["mean_iou"], [line(), line(row=paper.ROWS[1])])
    assert "Not measured: 1 of 4 seeds of other." in text


def test_the_opening_of_a_table_stands_before_its_rows():
    paper = types.SimpleNamespace(TITLE="A", OPENING=("Nine lines.",))
    assert formats.markdown(paper, ["mean_iou"], [line()]).startswith("**A**\n\nNine lines.\n\n| | mean iou |")
