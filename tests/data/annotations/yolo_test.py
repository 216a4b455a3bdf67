import numpy as np
import pytest
from PIL import Image
from skimage.draw import polygon2mask

from aeseg.data.annotations import yolo
from aeseg.data.sources.folder import Folder
from aeseg.types import UserError


def test_polygons_in_fractions_fill_the_same_pixels_as_in_scikit_image(tmp_path):
    (tmp_path / "a.txt").write_text("1 0.1 0.1 0.9 0.1 0.5 0.9\n\n0 0.0 0.0 0.1 0.0 0.1 0.1 0.0 0.1\n")
    label = yolo.label(tmp_path / "a.txt", 3, (100, 200))
    expected = polygon2mask((100, 200), np.array([[10, 20], [10, 180], [90, 100]]) - 0.5)
    assert np.count_nonzero((label == 2) & expected) / np.count_nonzero((label == 2) | expected) > 0.97
    assert label[5, 10] == 1
    assert label[99, 0] == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2 0 0 1 0 1 1", r"has class 2; expected 0..1, since class_table has 3 classes, background first"),
        ("0 0.5 0.5 0.2 0.2", "Line 1 of .* is a box"),
        ("0 0 0 1 0 1", "Line 1 of .* has 6 numbers"),
        ("leaf 0 0 1 0 1 1", "is not a class and numbers: 'leaf 0"),
        ("0 0 0 nan 0 1 1", "finite numbers"),
    ],
)
def test_a_line_that_cannot_be_drawn_is_named(tmp_path, text, says):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(UserError, match=says):
        yolo.label(tmp_path / "a.txt", 3, (10, 10))


def test_a_folder_reads_the_layout_of_ultralytics(tmp_path):
    for split in ("train", "val"):
        (tmp_path / "images" / split).mkdir(parents=True)
        (tmp_path / "labels" / split).mkdir(parents=True)
        Image.fromarray(np.zeros((20, 24, 3), np.uint8)).save(tmp_path / f"images/{split}/a.png")
        (tmp_path / f"labels/{split}/a.txt").write_text("0 0 0 1 0 1 1 0 1\n")
    (tmp_path / "labels/classes.txt").write_text("leaf\n")
    source = Folder(root=str(tmp_path), images="images/train", labels="labels/train", class_table="background, leaf")
    assert [record.name for record in source.records] == ["a"]
    assert (source[0]["label"] == 1).all()
