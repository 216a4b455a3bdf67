"""experiments/pages: the parts of a page."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from aeseg.runs import scores as scoring
from aeseg.runs import workdir as workdirs
from aeseg.types import IGNORE, Class, UserError
from experiments import report
from experiments.console import cli
from experiments.machine import process
from experiments.pages import charts, comparisons, intervals, page, pictures, runs
from experiments.pages.markup import Markup, tag
from tests.experiments import untrained
from tests.experiments.pages import samples


def decoded(address):
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


def test_text_and_attributes_are_escaped_and_markup_is_not():
    made = tag("p", "<b>", Markup("<i>x</i>"), None, ["&", 1], class_="a", title='">')
    assert made == '<p class="a" title="&quot;&gt;">&lt;b&gt;<i>x</i>&amp;1</p>'
    assert tag("input", type="search", hidden=True, value=None) == '<input type="search" hidden>'


@pytest.mark.parametrize(("low", "high"), [(0.13, 0.87), (-3, 12345), (1e-6, 2e-6), (5, 5), (0, 0)])
def test_ticks_are_round_and_cover_all_values(low, high):
    marks = charts.ticks(low, high, 5)
    assert marks[0] <= low <= high <= marks[-1]
    assert 2 <= len(marks) <= 13
    steps = np.diff(marks)
    np.testing.assert_allclose(steps, steps[0])
    assert f"{steps[0]:.0e}"[0] in "125"


def test_long_curves_are_thinned_and_keep_their_ends():
    points = [(step, float(step)) for step in range(1000)]
    thin = charts.thinned(points, 50)
    assert len(thin) == 50
    assert (thin[0], thin[-1]) == (points[0], points[-1])


def test_the_interval_of_iou_equals_scipys_bootstrap():
    random = np.random.default_rng(0)
    images = [random.multinomial(500, weights).reshape(2, 2) for weights in random.dirichlet([8, 2, 1, 5], 40)]

    def iou(index, axis=-1):
        summed = np.stack(images)[index].sum(axis=-3)  # index [... n] -> [... n k k] -> [... k k]
        return summed[..., 1, 1] / (summed[..., 1, :].sum(-1) + summed[..., 0, 1])

    expected = stats.bootstrap((np.arange(40),), iou, n_resamples=20_000, method="percentile", vectorized=True, rng=1).confidence_interval
    each, _ = intervals.of_iou(np.stack(images), draws=20_000)
    np.testing.assert_allclose(each[1], expected, atol=0.002)


def test_a_class_that_never_occurs_has_no_interval_and_one_image_has_none():
    matrix = np.zeros((5, 3, 3), np.int64)
    matrix[:, 0, 0], matrix[:, 1, 0] = 9, 1
    each, mean = intervals.of_iou(matrix)
    assert np.isnan(each[2]).all()
    np.testing.assert_allclose([each[0], each[1]], [[0.9, 0.9], [0, 0]])
    np.testing.assert_allclose(mean, [0.45, 0.45])
    assert np.isnan(intervals.of_iou(matrix[:1])[0]).all()


def test_the_layers_decode_to_the_label_maps():
    classes = (Class("ground", (0, 0, 0)), Class("leaf", (255, 255, 255)), Class("stem", (10, 20, 30)))
    label = np.array([[0, 1, 2], [IGNORE, 1, 1]])
    prediction = np.array([[0, 1, 1], [2, 1, 0]])
    layers = pictures.layers(np.zeros((2, 3, 3), np.uint8), label, prediction, classes)
    truth = np.asarray(decoded(layers.truth).convert("RGBA"))
    assert truth[..., 3].tolist() == [[0, 255, 255], [0, 255, 255]], "a black ground and ignored pixels show the image"
    assert truth[0, 2].tolist() == [10, 20, 30, 255]
    assert tuple(truth[0, 1, :3]) == pictures.BRIGHT
    assert (np.asarray(decoded(layers.errors).convert("RGBA"))[..., 3] > 0).tolist() == [[False, False, True], [False, False, True]]
    np.testing.assert_array_equal(np.asarray(decoded(layers.image).convert("RGB")), 0)
    assert (layers.height, layers.width) == (2, 3)


def test_pictures_are_shrunk_to_their_side():
    assert decoded(pictures.photo(np.zeros((900, 300, 3), np.uint8), 90)).size == (30, 90)
    assert decoded(pictures.photo(np.zeros((9, 30), np.float32), 90)).size == (30, 9)


def test_the_page_is_one_file_without_a_network(tmp_path):
    text = samples.whole(tmp_path)
    assert re.findall(r"""(?:src|href)=["']?(?!data:|#)[^"' >]+""", re.sub(r"&lt;.*?&gt;", "", text)) == []
    assert "default-src &#x27;none&#x27;" in text
    assert text.count("<script>") == 1
    assert "onerror=&quot;" in text
    assert len(text) < page.LARGEST


def test_means_of_a_comparison_have_student_s_intervals(tmp_path):
    gathered = comparisons.gather(str(samples.write_comparison(tmp_path / "c")))
    assert gathered.arms == ("scratch", samples.EVIL)
    rows = comparisons.by_labels(gathered, "scratch")
    assert [(labels, seeds) for labels, *_, seeds in rows] == [(4, 3), (16, 3)]
    expected = stats.t.interval(0.95, 2, 0.51, stats.sem([0.5, 0.51, 0.52]))
    np.testing.assert_allclose(rows[0][1:4], [0.51, *expected])
    assert comparisons.class_iou(gathered, samples.EVIL, 16) == {"sky": pytest.approx(0.76)}


def test_the_winner_is_shown_only_from_inside_the_comparison(tmp_path):
    folder = samples.write_comparison(tmp_path / "c")
    told = json.loads((folder / "verdict.json").read_text())
    for place, expected in (("arms/a", True), ("../elsewhere", False), (str(tmp_path / "elsewhere"), False), ("arms/gone", False)):
        if place != "arms/gone":
            (folder / place / "checkpoints").mkdir(parents=True, exist_ok=True)
            (folder / place / "config.json").write_text("{}")
        (folder / "verdict.json").write_text(json.dumps({**told, "winner": {"workdir": place}}))
        assert bool(comparisons.winner(comparisons.gather(str(folder)))) == expected


def test_runs_with_the_same_name_get_longer_names(workdir, tmp_path):
    path = workdir(untrained.segmenter())
    (tmp_path / "other" / "run").mkdir(parents=True)
    for name in ("config.json", "metrics.jsonl"):
        (tmp_path / "other" / "run" / name).write_bytes((tmp_path / "run" / name).read_bytes())
    text = _page_of(tmp_path, path, str(tmp_path / "other" / "run"))
    assert "<h2>other/run</h2>" in text
    assert "Settings in which they differ" not in text


def test_an_unfinished_comparison_has_a_page(tmp_path):
    folder = samples.write_comparison(tmp_path / "c")
    for name in ("verdict.json", "plan.json", "health.jsonl"):
        (folder / name).unlink()
    results = (folder / "results.jsonl").read_text()
    (folder / "results.jsonl").write_text(f"{results}not JSON\n17\n")
    assert "There is no verdict yet" in _page_of(tmp_path, str(folder))


def _page_of(tmp_path, *words):
    output = tmp_path / "page.html"
    assert cli.guarded(report.run, ["report", *words, f"--output={output}"]) == 0
    return output.read_text(encoding="utf-8")


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """Return a function that puts a network in place of a workdir's."""
    monkeypatch.setattr(process, "start", lambda: None)

    def call(trained):
        monkeypatch.setattr(workdirs, "load_trained", lambda path, step=-1: trained)
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "config.json").write_text(trained.run.config.to_json())
        (tmp_path / "run" / "metrics.jsonl").write_text('{"step": 1, "train/loss": 2.0}\n{"step": 7, "train/loss": null}\nbroken\n')
        return str(tmp_path / "run")

    return call


def test_the_scores_of_a_page_equal_evaluate(workdir, tmp_path):
    trained = untrained.segmenter()
    path = workdir(trained)
    gathered = runs.gather(path, "test", 200, 2**20)
    expected = scoring.scored(*trained[:3], trained.run.data.scored("test"), batch=2)
    for name in ("mean_iou", "pixel_accuracy", "confusion"):
        assert gathered.judged.scores[name] == expected[name]
    assert sum(pixels for *_, pixels in gathered.judged.bins) == expected["pixels"]
    assert [card.score for card in gathered.judged.cards] == sorted(card.score for card in gathered.judged.cards)
    assert gathered.curves == {"train/loss": [(1, 2.0)]}
    text = _page_of(tmp_path, path)
    assert f"{100 * expected['mean_iou']:.1f}" in text
    assert text.count('<figure class="card"') == 3


def test_an_autoencoder_s_images_are_shown_with_their_outputs(workdir, tmp_path):
    text = _page_of(tmp_path, workdir(untrained.autoencoder()))
    for title in ("input", "seen", "output", "error"):
        assert f"<small>{title}</small>" in text
    assert text.count("dB</b>") == 3


def test_a_run_without_its_images_has_a_page_without_pictures(workdir, tmp_path, monkeypatch, capsys):
    path = workdir(untrained.segmenter())

    def gone(*arguments):
        raise UserError("There is no directory 'photos'.")

    monkeypatch.setattr(workdirs, "load_trained", gone)
    text = _page_of(tmp_path, path)
    assert "No pictures: There is no directory" in text
    assert "Training loss" in text
    assert "has no pictures: There is no directory" in capsys.readouterr().out


def test_if_the_pictures_do_not_fit_the_best_are_left_out():
    cards = [samples.segmented(f"image{number}", (number / 20, 0.5, 0.5)) for number in range(20)]
    each = cards[0].layers.bytes
    kept = runs._within(runs._worst_first(cards, 3), 5 * each)
    assert 3 <= len(kept) < 8
    assert kept[0] is cards[0]
    assert cards[-1] not in kept


def test_a_table_has_a_page(tmp_path):
    text = _page_of(tmp_path, "scenes")
    assert '<th scope="row">pretrained</th>' in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Expected workdirs, comparisons or tables; got none."),
        (["nowhere"], "nowhere is none of these. Name a folder with a config.json"),
        (["scenes", "--split=tset"], "The splits are train, validation, test; got 'tset'."),
        (["scenes", "--most=-1"], "Expected a number of images, or 0 for all; got --most=-1"),
    ],
)
def test_wrong_words_are_refused_with_one_sentence(words, message, capsys):
    assert cli.guarded(report.run, ["report", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_page_that_is_too_large_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(page, "LARGEST", 1000)
    assert cli.guarded(report.run, ["report", "scenes", f"--output={tmp_path / 'page.html'}"]) == 2
    assert "Give fewer runs, or lower --most." in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_samples_are_json(tmp_path):
    assert json.loads((samples.write_comparison(tmp_path / "c") / "verdict.json").read_text())["headline"] == samples.EVIL
