import json

import numpy as np
import pytest
from PIL import Image
from skimage.draw import disk, polygon2mask

from aeseg.data.annotations import labelme
from aeseg.data.sources.folder import Folder
from aeseg.types import UserError

NAMES = {"background": 0, "leaf": 1, "stem": 2}


def written(path, shapes, **fields):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"version": "5.0", "shapes": shapes, **fields}))
    return path


def shape(label, points, kind="polygon"):
    return {"label": label, "points": points, "shape_type": kind}


def overlap(found, expected):
    return np.count_nonzero(found & expected) / np.count_nonzero(found | expected)


def test_shapes_fill_the_same_pixels_as_in_scikit_image(tmp_path):
    corners = np.array([[10.0, 8.0], [90.0, 20.0], [70.0, 80.0], [15.0, 60.0]])
    path = written(tmp_path / "a.json", [shape("leaf", corners.tolist())])
    expected = polygon2mask((100, 120), corners[:, ::-1] - 0.5)
    assert overlap(labelme.label(path, NAMES, (100, 120)) == 1, expected) > 0.97
    path = written(tmp_path / "b.json", [shape("stem", [[50, 40], [50, 60]], "circle")])
    ring = np.zeros((100, 120), bool)
    ring[disk((39.5, 49.5), 20)] = True
    assert overlap(labelme.label(path, NAMES, (100, 120)) == 2, ring) > 0.95


def test_later_shapes_are_drawn_over_earlier_ones(tmp_path):
    path = written(tmp_path / "a.json", [shape("leaf", [[0, 0], [20, 20]], "rectangle"), shape("stem", [[5, 5], [9, 9]], "rectangle")])
    label = labelme.label(path, NAMES, (20, 20))
    assert (label[1, 1], label[7, 7], label[0, 0], label[-1, -1]) == (1, 2, 1, 1)


@pytest.mark.parametrize(
    ("shapes", "fields", "says"),
    [
        ([shape("root", [[0, 0], [1, 1], [2, 0]])], {}, "has a shape 'root'; class_table has background, leaf, stem"),
        ([shape("leaf", [[0, 0], [1, 1]])], {}, "polygon of 2 corners"),
        ([shape("leaf", [[0, 0], [1, 1]], "line")], {}, "of type 'line'; expected a polygon"),
        ([shape("leaf", "x")], {}, "without pairs of numbers"),
        ([], {"imageHeight": 5, "imageWidth": 6}, r"for an image of 5x6 \(height x width\); its image is 20x20"),
        ({}, {}, "is not a LabelMe file"),
    ],
)
def test_a_file_that_cannot_be_drawn_is_named(tmp_path, shapes, fields, says):
    with pytest.raises(UserError, match=says):
        labelme.label(written(tmp_path / "a.json", shapes, **fields), NAMES, (20, 20))


def test_a_folder_reads_labelme_files_beside_the_images_or_in_labels(tmp_path):
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((20, 24, 3), np.uint8)).save(tmp_path / "images/a.png")
    for place in ("labels", "images"):
        written(tmp_path / place / "a.json", [shape("leaf", [[0, 0], [10, 10]], "rectangle")], imageHeight=20, imageWidth=24)
        source = Folder(root=str(tmp_path), labels=place, class_table="background, leaf")
        assert len(source) == 1
        assert np.count_nonzero(source[0]["label"]) in (100, 121)
