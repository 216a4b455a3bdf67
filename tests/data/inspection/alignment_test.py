"""aeseg/data/inspection/alignment.py: planes have edges at the label's outlines if they are aligned, and are warned of if they are not."""

import numpy as np
import pytest
from PIL import Image

from aeseg.data.inspection import alignment
from aeseg.data.sources.folder import Folder
from aeseg.types import IGNORE

SIDE = 64


@pytest.fixture
def source(tmp_path):
    """Six images of one square each, a plane that shows it, and one that shows it 20 pixels to the right."""
    rng = np.random.default_rng(0)
    for number in range(6):
        top, left = 4 + 7 * number, 30 - 4 * number
        label = np.zeros((SIDE, SIDE), np.uint8)
        label[top : top + 14, left : left + 14] = 1
        planes = {"labels": label, "depth": 100 * label, "thermal": 100 * np.roll(label, 20, axis=1)}
        planes["images"] = np.repeat(100 * label[..., None] + rng.integers(0, 20, (SIDE, SIDE, 1), np.uint8), 3, axis=-1)
        for folder, values in planes.items():
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(values).save(tmp_path / folder / f"{number}.png")
    return Folder(str(tmp_path), class_table="2", aligned=("depth", "thermal"))


def test_planes_that_are_aligned_have_edges_at_the_outlines_and_moved_ones_are_warned_of(source):
    found = alignment.measured(source)
    assert found["image"] > 1
    assert found["depth"] > 1
    assert abs(found["thermal"]) < 0.1 * found["image"] or found["thermal"] < 0
    line, warning = alignment.lines(source)
    assert line.endswith(f"image {found['image']:.2f}, depth {found['depth']:.2f}, thermal {found['thermal']:.2f}")
    assert warning.startswith("Warning: thermal has hardly any edges at the label outlines")


def test_without_planes_or_labels_there_is_nothing_to_say(source):
    assert alignment.lines(Folder(source.root, class_table="2")) == []
    assert alignment.lines(Folder(source.root, class_table="2", labels="", aligned=("depth",))) == []


def test_edges_have_mean_0_and_variance_1_and_constant_planes_none():
    values = alignment.edges(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    np.testing.assert_allclose([values.mean(), values.std()], [0, 1], atol=1e-5)
    assert not alignment.edges(np.full((8, 8), 7.0, np.float32)).any()


def test_an_outline_is_where_classes_meet_and_not_where_labels_are_unknown():
    label = np.zeros((20, 20), np.uint8)
    label[:, 10:] = 1
    label[:, 15:] = IGNORE
    near = alignment.near_outline(label)
    assert np.flatnonzero(near[5]).tolist() == list(range(6, 13))
    assert not alignment.near_outline(np.zeros((4, 4), np.uint8)).any()
