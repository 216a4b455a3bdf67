"""experiments/figures.py: the pictures of a table, from the workdirs of its first seed."""

import os
import types

import numpy as np
import pytest
from PIL import Image

from aeseg.inference import draw
from aeseg.methods import masked
from aeseg.types import IGNORE
from experiments import assembly, figures, measurements
from tests.experiments import untrained


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """The columns of each picture drawn, by its path; the runs are untrained networks."""
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

    monkeypatch.setattr(assembly, "load_trained", lambda workdir: trained[os.path.basename(workdir)])
    monkeypatch.setattr(measurements, "RESULTS", str(tmp_path))
    monkeypatch.setattr(draw, "panel", kept)
    return seen


def test_predictions_stand_beside_image_and_label(drawn):
    (path,) = figures.write("table", types.SimpleNamespace(SPLIT="test", PICTURE={"from scratch": "scratch"}), "runs")
    columns, names = drawn[path]
    assert list(columns) == ["image", "label", "from scratch"]
    assert len(names) == figures.SHOWN
    for label, prediction in zip(columns["label"], columns["from scratch"], strict=True):
        assert prediction.shape == label.shape == (16, 24)
        np.testing.assert_array_equal(prediction[label == IGNORE], IGNORE)
    with Image.open(path) as picture:
        assert picture.width > 100


def test_reconstructions_stand_beside_what_their_autoencoders_were_shown(drawn):
    paper = types.SimpleNamespace(SPLIT="test", PICTURE={"scratch": "scratch"}, RECONSTRUCTIONS={"denoising": "denoising", "MAE": "masked"})
    _, path = figures.write("table", paper, "runs")
    columns, _ = drawn[path]
    assert list(columns) == ["image", "denoising: noisy", "denoising: back", "MAE: visible", "MAE: back"]
    assert all(np.asarray(column).shape == (figures.SHOWN, 16, 16, 3) for column in columns.values())
    pasted = np.all(columns["MAE: visible"] == columns["image"], axis=-1)
    np.testing.assert_array_equal(columns["MAE: back"][pasted], columns["image"][pasted])
    assert os.path.basename(path) == "table_reconstructions.jpg"
