"""experiments/study/plot.py: curves over the label fraction, bars for other tables; matplotlib is imported only to draw."""

import sys
import types

import numpy as np
import pytest

from aeseg.types import UserError
from experiments.papers import Row
from experiments.study import plot

SHARES = tuple(
    Row(f"{name}, {100 * share:g} %", "segment", "segment", {"transfer": transfer, "data.fraction": share})
    for name, transfer in (("scratch, small", "scratch"), ("denoising", "fine-tune"))
    for share in (1.0, 0.1)
)
BARS = (Row("scratch", "segment", "segment", {"transfer": "scratch"}), Row("denoising", "segment", "segment"))


PAPER = {"mean_iou": 44.5}


def measured(rows, seeds=2):
    """Return a table of these rows and its measurements: means of 40.5, 50.5, ... % over two seeds, 1 point apart."""
    common = {"seconds": 1.0, "device": "cpu", "commit": "abc"}
    found = [
        {"row": row.name, "seed": seed, "numbers": {"mean_iou": 0.4 + 0.01 * seed + 0.1 * place}, **common}
        for place, row in enumerate(rows)
        for seed in range(seeds)
    ]
    return types.SimpleNamespace(TITLE="A table", METRICS=("mean_iou",), ROWS=rows), found


def figure_of(rows, seeds=2):
    figure = pytest.importorskip("matplotlib.figure").Figure(layout="constrained")
    plot.draw(figure, *measured(rows, seeds))
    return figure


def drawn(rows, path, seeds=2):
    pytest.importorskip("matplotlib")
    plot.write(str(path), *measured(rows, seeds))
    return path


def curves_of(axes):
    """Return {label in the legend: (points, ends of the intervals)} of the curves."""
    found = {}
    for container in axes.containers:
        data, _, (bars,) = container
        found[container.get_label()] = list(zip(*data.get_data(), strict=True)), [tuple(segment[:, 1]) for segment in bars.get_segments()]
    return found


def test_rows_that_differ_only_in_their_labels_are_one_curve():
    assert plot.curves(SHARES) == {
        "scratch, small": {0.1: "scratch, small, 10 %", 1.0: "scratch, small, 100 %"},
        "denoising": {0.1: "denoising, 10 %", 1.0: "denoising, 100 %"},
    }
    assert plot.curves(BARS) == {}


def test_curves_are_drawn_over_the_label_fraction(tmp_path):
    text = drawn(SHARES, tmp_path / "a.svg").read_text()
    for words in ("share of the labelled images", "scratch, small", "denoising", "10 %"):
        assert f"<!-- {words} -->" in text


@pytest.mark.parametrize("images", [180, 0])
def test_with_the_number_of_images_or_names_that_count_labels_the_axis_counts_labelled_images(images):
    """1, 4, 16 and 180 of 180 images, as `compare` names its rows; 4/180 of 180 is 4.000...1 without rounding."""
    counts = (1, 4, 16, 180)
    rows = tuple(
        Row(f"{arm}, {count} labels", "segment", arm, {"data.fraction": count / 180}, compare=compare and f"{compare}, {count} labels")
        for count in counts
        for arm, compare in (("scratch", ""), ("spark", "scratch"))
    )
    figure = pytest.importorskip("matplotlib.figure").Figure(layout="constrained")
    plot.draw(figure, *measured(rows), images=images)
    for axes in figure.axes:
        assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "4", "16", "180"]
        assert axes.get_xlabel() == "labelled images"
    curves = [line for line in figure.axes[0].lines if line.get_label() in ("scratch", "spark")]
    assert [tuple(curve.get_xdata()) for curve in curves] == [counts, counts]


def test_differences_are_drawn_beside_the_curves_of_compared_rows(tmp_path):
    compared = tuple(row._replace(compare=SHARES[place % 2].name if place > 1 else "") for place, row in enumerate(SHARES))
    words = "<!-- difference to scratch, seed by seed, points -->"
    assert words in drawn(compared, tmp_path / "a.svg").read_text()
    assert words not in drawn(SHARES, tmp_path / "b.svg").read_text()


def test_other_tables_are_drawn_as_bars(tmp_path):
    assert "share of the labelled images" not in drawn(BARS, tmp_path / "a.svg").read_text()
    assert drawn(BARS, tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_curves_show_the_means_and_their_intervals_at_their_fractions():
    """Of 40 and 41 % the interval is 40.5 ± 12.7062 * 0.5; SHARES has 100 % first of each name."""
    (axes,) = figure_of(SHARES).axes
    lines = [line for line in axes.lines if line.get_label() in ("scratch, small", "denoising")]
    for line, band, means in zip(lines, axes.collections, ((50.5, 40.5), (70.5, 60.5)), strict=True):
        np.testing.assert_allclose(line.get_xydata(), list(zip((0.1, 1.0), means, strict=True)))
        corners = {(round(x, 3), round(y, 3)) for x, y in band.get_paths()[0].vertices}
        assert corners == {(x, round(mean + sign * 6.3531, 3)) for x, mean in zip((0.1, 1.0), means, strict=True) for sign in (-1, 1)}


def test_differences_are_from_the_compared_row():
    compared = tuple(row._replace(compare=SHARES[place % 2].name if place > 1 else "") for place, row in enumerate(SHARES))
    _, differs = figure_of(compared).axes
    ((points, ends),) = curves_of(differs).values()
    np.testing.assert_allclose([y for _, y in points], (20, 20))
    np.testing.assert_allclose(ends, [(20, 20)] * 2)


def test_bars_are_drawn_downwards_in_the_order_of_the_table():
    (axes,) = figure_of(BARS).axes
    bars = [patch for patch in axes.patches if patch.get_width()]
    assert [(label.get_text(), place) for label, place in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)] == [
        ("scratch", 0),
        ("denoising", 1),
    ]
    np.testing.assert_allclose([(bar.get_y() + bar.get_height() / 2, bar.get_width()) for bar in bars], [(0, 40.5), (1, 50.5)])
    assert axes.yaxis_inverted()


def test_a_metric_that_is_no_fraction_is_drawn_in_its_unit():
    paper, found = measured(BARS)
    paper.METRICS = ("psnr",)
    found = [{**line, "numbers": {"psnr": 20.0 + line["seed"]}} for line in found]
    figure = pytest.importorskip("matplotlib.figure").Figure(layout="constrained")
    plot.draw(figure, paper, found)
    [axes] = figure.axes
    assert axes.get_xlabel() == "psnr, dB"
    assert [bar.get_width() for bar in axes.patches] == [20.5, 20.5]


@pytest.mark.parametrize("rows", [SHARES, BARS])
def test_the_picture_of_one_seed_has_no_interval_and_a_note(rows):
    figure = figure_of(rows, seeds=1)
    (axes,) = figure.axes
    assert axes.collections, "bands, or the lines of bars"
    assert not any(np.isfinite(path.vertices).all() and path.vertices.size for each in axes.collections for path in each.get_paths())
    caps = [line for line in axes.lines if line.get_marker() in ("|", "_")]
    assert all(np.isnan(cap.get_xydata()).any(axis=1).all() for cap in caps)
    assert figure.get_suptitle() == "A table\none seed, no intervals"


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((5, 5), "95 % intervals of the mean over 5 seeds"),
        ((1, 3), "95 % intervals of the mean over 3 seeds, none of one seed"),
        ((2, 5, 3), "95 % intervals of the mean over 2 to 5 seeds"),
        ((1,), "one seed, no intervals"),
    ],
)
def test_the_picture_has_the_number_of_seeds_of_its_intervals(numbers, said):
    assert plot._seeds([[0.5] * number for number in numbers]) == said


@pytest.mark.parametrize("rows", [SHARES, BARS])
def test_the_papers_number_is_a_hollow_marker(rows):
    figure = figure_of((rows[0]._replace(paper=PAPER), *rows[1:]))
    (axes,) = figure.axes
    hollow = [line.get_data() for line in axes.lines if line.get_markerfacecolor() == "none" and len(line.get_xdata())]
    ((at,),) = [values[0] if rows is BARS else values[1] for values in hollow]
    assert at == 44.5
    assert "paper" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert not any("paper" in text.get_text() for legend in figure_of(rows).legends for text in legend.get_texts())


def test_many_curves_and_long_names_fit_the_figure_without_overlap():
    """Of nine curves, each is compared with one of three: the legend is below the axes, and the label is inside the figure."""
    names = [f"scratch with encoder {number}" for number in range(3)] + [f"method of a long name {number}" for number in range(6)]
    rows = tuple(
        Row(f"{name}, {share}", "segment", "segment", {"data.fraction": share, "seed": place}, compare=f"{names[place % 3]}, {share}")
        for place, name in enumerate(names)
        for share in (0.1, 1.0)
    )
    rows = tuple(row._replace(compare="") if row.name.startswith("scratch") else row for row in rows)
    figure = figure_of(rows)
    figure.draw_without_rendering()
    width, height = figure.canvas.get_width_height()
    below = figure.legends[0].get_window_extent()
    for each in (below, *(axes.get_tightbbox() for axes in figure.axes)):
        assert each.x0 >= 0
        assert each.y0 >= 0
        assert each.x1 <= width
        assert each.y1 <= height
    left, right = (axes.get_tightbbox() for axes in figure.axes)
    assert left.x1 <= right.x0
    assert below.y1 <= min(left.y0, right.y0)


def test_a_path_with_another_suffix_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"Expected a path that ends in \.png, \.svg or \.pdf; got .*a\.doc"):
        drawn(BARS, tmp_path / "a.doc")


def test_without_matplotlib_the_error_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match=r"needs matplotlib, which is not installed. Install it: pip install -e '.\[plot\]'"):
        plot.write("a.png", None, [])
