"""experiments/study/figures.py: pictures of a table, from the workdirs of its first seed."""

import os
import types

import numpy as np
import pytest
from PIL import Image

from aeseg.data import wrappers
from aeseg.inference import draw
from aeseg.inference import evaluate as evaluation
from aeseg.methods import masked
from aeseg.runs import conditions
from aeseg.runs import workdir as workdirs
from aeseg.runs.data import Data
from aeseg.types import IGNORE, UserError
from experiments import papers
from experiments.papers import camvid_segnet, camvid_tiramisu
from experiments.recorded import measurements
from experiments.study import figures, training
from tests.experiments import untrained


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Return the columns of each drawn picture, by path; the runs are untrained networks."""
    trained = {
        "scratch-0": untrained.segmenter(),
        "denoising-0": untrained.autoencoder(),
        "masked-0": untrained.autoencoder(masked.recipe("tiny")),
    }
    seen = {}
    panel = draw.panel

    def kept(columns, path, classes, names):
        seen[path] = columns, names
        return panel(columns, path, classes, names)

    monkeypatch.setattr(training, "workdir", lambda runs, table, rows, name, seed: training.path_prefix(runs, table, name, seed))
    monkeypatch.setattr(workdirs, "load_trained", lambda workdir, step=-1: trained[os.path.basename(workdir)])
    monkeypatch.setattr(measurements, "RESULTS", str(tmp_path))
    monkeypatch.setattr(draw, "panel", kept)
    return seen


ROW = papers.Row("scratch", "segment", "segment")


@pytest.mark.parametrize("networks", [1, 3])
def test_the_best_and_the_worst_images_are_drawn_with_their_errors(drawn, monkeypatch, networks):
    """Of three images, the prediction of the first is right everywhere and of the last nowhere: they are drawn first and last.

    Errors are drawn beside the predictions of one network, and below the predictions of three.
    """
    source = untrained.segmenter().run.data.scored("test")
    labels = [source[index]["label"] for index in range(3)]
    wrong = [np.zeros((16, 24), bool), np.zeros((16, 24), bool), np.ones((16, 24), bool)]
    wrong[1][3:9, 2:20] = True
    answers = iter([(label + spoilt) % len(source.classes) for label, spoilt in zip(labels, wrong, strict=True)] * networks)

    def sliding(predict, images, *rest, **more):
        for _ in images:
            yield np.eye(len(source.classes), dtype=np.float32)[next(answers)]

    monkeypatch.setattr(evaluation, "sliding", sliding)
    titles = [f"network {number}" for number in range(networks)]
    paper = types.SimpleNamespace(SPLIT="test", SEEDS=2, EACH=1, PICTURE=dict.fromkeys(titles, "scratch"), ROWS=(ROW,))
    (path,) = figures.write("table", paper, "runs")
    columns, names = drawn[path]
    ranks = ["best of 3: test-000000, mean IoU 100.0%", "worst of 3: test-000002, mean IoU 0.0%"]
    beside = networks == 1
    assert list(columns) == ["image", "label", *titles, *(["network 0: wrong"] if beside else [])]
    assert names == (ranks if beside else [ranks[0], "wrong where red", ranks[1], "wrong where red"])
    for title in titles:
        np.testing.assert_array_equal(columns[title][0], np.where(labels[0] == IGNORE, IGNORE, labels[0]))
        maps = columns["network 0: wrong"] if beside else columns[title][1::2]
        for shown, index in zip(maps, (0, 2), strict=True):
            red = np.all(shown == draw.WRONG, axis=-1)
            np.testing.assert_array_equal(red, wrong[index] & (labels[index] != IGNORE))
    with Image.open(path) as picture:
        assert picture.width > 100


@pytest.mark.parametrize(("records", "shown"), [(1, 1), (3, 3)])
def test_few_images_are_drawn_once_each(drawn, monkeypatch, records, shown):
    paper = types.SimpleNamespace(SPLIT="test", SEEDS=2, PICTURE={"from scratch": "scratch"}, ROWS=(ROW,))
    whole = Data.scored
    monkeypatch.setattr(Data, "scored", lambda data, split: wrappers.Subset(whole(data, split), records / 3))
    (path,) = figures.write("table", paper, "runs")
    columns, names = drawn[path]
    assert len(names) == len(set(names)) == len(columns["label"]) == shown
    for label, prediction in zip(columns["label"], columns["from scratch"], strict=True):
        assert prediction.shape == label.shape == (16, 24)
        np.testing.assert_array_equal(prediction[label == IGNORE], IGNORE)


def test_a_row_scored_at_its_best_step_is_drawn_at_that_step(drawn, monkeypatch):
    steps = []
    load = workdirs.load_trained
    monkeypatch.setattr(workdirs, "load_trained", lambda workdir, step=-1: steps.append(step) or load(workdir))
    monkeypatch.setattr(workdirs, "best_step", lambda workdir: 3)
    for row in (ROW, ROW._replace(best=True)):
        figures.write("table", types.SimpleNamespace(SPLIT="test", SEEDS=2, PICTURE={"from scratch": "scratch"}, ROWS=(row,)), "runs")
    assert steps == [-1, 3]


def test_lit_and_dark_images_are_drawn_apart_where_a_table_is_scored_by_light(drawn, monkeypatch):
    monkeypatch.setattr(conditions, "is_dark", lambda records: [index != 1 for index in range(len(records))])
    rows = (ROW._replace(lighting=True),)
    (path,) = figures.write(
        "table", types.SimpleNamespace(SPLIT="test", SEEDS=2, PICTURE={"from scratch": "scratch"}, ROWS=rows, EACH=1), "runs"
    )
    assert [name.partition(",")[0].partition(":")[0] for name in drawn[path][1]] == ["best of 1 lit", "best of 2 dark", "worst of 2 dark"]


def test_aligned_modalities_that_a_network_reads_are_drawn_beside_the_image(drawn, monkeypatch):
    fusion = untrained.fusion()
    monkeypatch.setattr(workdirs, "load_trained", lambda workdir, step=-1: fusion)
    (path,) = figures.write(
        "table", types.SimpleNamespace(SPLIT="test", SEEDS=2, PICTURE={"fusion": "scratch"}, ROWS=(ROW,), EACH=1), "runs"
    )
    columns, _ = drawn[path]
    assert list(columns) == ["image", "depth", "label", "fusion", "fusion: wrong"]
    np.testing.assert_array_equal(sorted(map(np.sum, columns["depth"])), sorted(map(np.sum, _depths(fusion, drawn[path][1]))))


@pytest.mark.parametrize("title", ["image", "depth", "label"])
def test_a_row_with_the_title_of_another_column_is_refused(title, drawn, monkeypatch):
    monkeypatch.setattr(workdirs, "load_trained", lambda workdir, step=-1: untrained.fusion())
    paper = types.SimpleNamespace(SPLIT="test", SEEDS=2, PICTURE={title: "scratch"}, ROWS=(ROW,), EACH=1)
    with pytest.raises(UserError, match=f"no other column has; got {title}"):
        figures.write("table", paper, "runs")


def _depths(trained, names):
    source = trained.run.data.scored("test")
    return [source[index]["depth"] for index in range(len(source)) if any(source[index]["name"] in name for name in names)]


def test_reconstructions_are_drawn_beside_the_visible_inputs(drawn):
    rows = (ROW, ROW._replace(name="denoising"), ROW._replace(name="masked"))
    paper = types.SimpleNamespace(
        SPLIT="test", SEEDS=2, PICTURE={"scratch": "scratch"}, ROWS=rows, RECONSTRUCTIONS={"denoising": "denoising", "MAE": "masked"}
    )
    _, path = figures.write("table", paper, "runs")
    columns, _ = drawn[path]
    assert list(columns) == ["image", "denoising: noisy", "denoising: back", "MAE: visible", "MAE: back"]
    assert all(np.asarray(column).shape == (figures.SHOWN, 16, 16, 3) for column in columns.values())
    pasted = np.all(columns["MAE: visible"] == columns["image"], axis=-1)
    np.testing.assert_array_equal(columns["MAE: back"][pasted], columns["image"][pasted])
    assert os.path.basename(path) == "table_reconstructions.jpg"


def test_the_first_seed_with_the_runs_of_all_drawn_rows_is_drawn(tmp_path, monkeypatch):
    paper = types.SimpleNamespace(SEEDS=3, ROWS=(ROW, ROW._replace(name="denoising")))
    monkeypatch.setattr(training, "workdir", lambda runs, table, rows, name, seed: training.path_prefix(runs, table, name, seed))
    for name in ("scratch-0", "scratch-1", "scratch-2", "denoising-1", "denoising-2"):
        (tmp_path / "table" / name).mkdir(parents=True)
    drawn = {"from scratch": "scratch", "pretrained": "denoising"}
    chosen = figures._workdirs("table", paper, str(tmp_path), drawn)
    assert [os.path.basename(folder) for folder in chosen.values()] == ["scratch-1", "denoising-1"]
    (tmp_path / "table" / "denoising-1").rmdir()
    (tmp_path / "table" / "denoising-2").rmdir()
    assert figures._workdirs("table", paper, str(tmp_path), drawn)["pretrained"].endswith("denoising-0")  # its error names the folder


def test_a_table_of_autoencoders_alone_has_no_predictions_to_draw(drawn):
    paper = types.SimpleNamespace(ROWS=(papers.Row("denoising", "pretrain", "pretrain"),), PICTURE={}, RECONSTRUCTIONS={"a": "denoising"})
    paper.SPLIT, paper.SEEDS = "test", 2
    assert [os.path.basename(path) for path in figures.write("table", paper, "runs")] == ["table_reconstructions.jpg"]


def test_a_table_that_names_no_rows_to_draw_is_refused():
    message = r"^Expected rows to draw in PICTURE; trials has no PICTURE\. Add PICTURE to experiments/papers/trials\.py, or "
    with pytest.raises(UserError, match=message):
        figures.write("trials", types.SimpleNamespace(SPLIT="test", SEEDS=2, ROWS=(ROW,)), "runs")


@pytest.mark.parametrize(
    ("table", "paper", "name"),
    [
        ("camvid_segnet", camvid_segnet, "SegNet-Basic, natural, 72x96"),
        ("camvid_tiramisu", camvid_tiramisu, "FC-DenseNet, small, whole images"),
    ],
)
def test_rows_of_another_scale_are_not_drawn(table, paper, name):
    message = rf"^Expected the rows that {table} draws to have this scale; got {name}; .*, of another scale\. Set their --scale"
    with pytest.raises(UserError, match=message):
        figures.write(table, papers.at_scale(paper, "paper"), "runs")


def test_reconstructions_of_another_scale_are_refused_before_anything_is_drawn(drawn):
    paper = types.SimpleNamespace(
        SPLIT="test", SEEDS=2, PICTURE={"scratch": "scratch"}, ROWS=(ROW,), RECONSTRUCTIONS={"denoising": "denoising"}
    )
    with pytest.raises(UserError, match="got denoising, of another scale"):
        figures.write("table", paper, "runs")
    assert not drawn
