"""experiments/plot.py: bands over the share of the labels, bars for other tables, and matplotlib only when it draws."""

import sys
import types

import pytest

from aeseg.types import UserError
from experiments import plot
from experiments.papers import Row

SHARES = tuple(
    Row(f"{name}, {100 * share:g} %", "segment", "segment", {"freeze": freeze, "data.fraction": share})
    for name, freeze in (("scratch, small", "scratch"), ("denoising", "fine-tune"))
    for share in (1.0, 0.1)
)
BARS = (Row("scratch", "segment", "segment", {"freeze": "scratch"}), Row("denoising", "segment", "segment"))


def drawn(rows, path):
    pytest.importorskip("matplotlib")
    paper = types.SimpleNamespace(TITLE="A table", METRICS=("mean_iou",), ROWS=rows)
    common = {"seconds": 1.0, "device": "cpu", "commit": "abc"}
    found = [
        {"row": row.name, "seed": seed, "numbers": {"mean_iou": 0.4 + 0.01 * seed + 0.1 * place}, **common}
        for place, row in enumerate(rows)
        for seed in range(2)
    ]
    plot.write(str(path), paper, found)
    return path


def test_rows_that_differ_in_their_labels_alone_are_one_curve():
    assert plot.curves(SHARES) == {
        "scratch, small": {0.1: "scratch, small, 10 %", 1.0: "scratch, small, 100 %"},
        "denoising": {0.1: "denoising, 10 %", 1.0: "denoising, 100 %"},
    }
    assert plot.curves(BARS) == {}


def test_curves_are_drawn_over_the_share_of_the_labels(tmp_path):
    text = drawn(SHARES, tmp_path / "a.svg").read_text()
    for words in ("share of the labelled images", "scratch, small", "denoising", "10 %"):
        assert f"<!-- {words} -->" in text


def test_beside_the_curves_of_compared_rows_stand_their_differences(tmp_path):
    compared = tuple(row._replace(compare=SHARES[place % 2].name if place > 1 else "") for place, row in enumerate(SHARES))
    words = "<!-- difference to scratch, seed by seed, points -->"
    assert words in drawn(compared, tmp_path / "a.svg").read_text()
    assert words not in drawn(SHARES, tmp_path / "b.svg").read_text()


def test_other_tables_are_drawn_as_bars(tmp_path):
    assert "share of the labelled images" not in drawn(BARS, tmp_path / "a.svg").read_text()
    assert drawn(BARS, tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_path_of_another_kind_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"Expected a path that ends in \.png, \.svg or \.pdf; got .*a\.doc"):
        drawn(BARS, tmp_path / "a.doc")


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match=r"needs matplotlib, which is not installed. Install it: pip install -e '.\[plot\]'"):
        plot.write("a.png", None, [])
