"""aeseg/data/modalities/pseudo_labels.py: what `predict` writes is read as it was predicted; faults are named."""

import numpy as np
import pytest
from PIL import Image

from aeseg.data.sources.folder import Folder
from aeseg.inference import draw
from aeseg.types import IGNORE, Class, UserError

CLASSES = (Class("background", (0, 0, 0)), Class("leaf", (0, 255, 0)), Class("stem", (255, 0, 0)))
TABLE = "background #000000, leaf #00ff00, stem #ff0000"
RNG = np.random.default_rng(0)


@pytest.fixture
def root(tmp_path):
    """8 images, the first 6 with true labels, all but the last with predicted labels."""
    for folder in ("images", "labels", "predicted"):
        (tmp_path / folder).mkdir()
    for number in range(8):
        Image.fromarray(RNG.integers(0, 256, (6, 4, 3), np.uint8)).save(tmp_path / f"images/{number}.png")
        if number < 6:
            Image.fromarray(np.zeros((6, 4), np.uint8)).save(tmp_path / f"labels/{number}.png")
        if number < 7:
            draw.write_label(str(tmp_path / f"predicted/{number}.png"), map_of(number), CLASSES)
    return tmp_path


def map_of(number):
    return np.random.default_rng(number).integers(0, 3, (6, 4))


def source(root, **fields):
    return Folder(str(root), class_table=TABLE, images_only=True, pseudo_labels="predicted", **fields)


def test_predicted_labels_are_read_and_a_record_without_one_has_none(root):
    for number, record in enumerate(source(root)):
        assert record["label"].dtype == np.uint8
        assert record["has_label"] == (number < 7)
        np.testing.assert_array_equal(record["label"], map_of(number) if number < 7 else IGNORE)
    assert [each.name for each in source(root).classes] == ["background", "leaf", "stem"]
    assert "1 of 8 images have no entry" in " ".join(source(root).notes)


def test_splits_are_those_of_the_true_labels(root):
    names = {split: {record["name"] for record in source(root, split=split)} for split in ("train", "validation", "test")}
    segmented = {
        split: {record["name"] for record in Folder(str(root), class_table=TABLE, only_labelled=True, split=split)} for split in names
    }
    assert names["test"] == segmented["test"]
    assert names["train"] == segmented["train"] | {"6", "7"} or names["train"] == segmented["train"]


def test_a_segmenter_reads_its_labels(root):
    labelled = Folder(str(root), class_table=TABLE, pseudo_labels="predicted", only_labelled=True)
    assert not labelled.reads_pseudo_labels
    assert all(np.all(record["label"] == 0) and "has_label" not in record for record in labelled)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.full((6, 4), 7, np.uint8), "should hold class numbers 0..2, and 255 for unknown; got the values 7"),
        (np.full((6, 4, 3), (9, 1, 200), np.uint8), "got colours. Use the files that predict writes"),
        (np.zeros((4, 4), np.uint8), "is 6x4"),
    ],
)
def test_other_files_are_refused(root, pixels, message):
    Image.fromarray(pixels).save(root / "predicted/0.png")
    with pytest.raises(UserError) as error:
        source(root)[0]
    assert message in str(error.value)
