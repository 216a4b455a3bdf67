import json
import pickle

import numpy as np
import pytest
from PIL import Image
from skimage.draw import polygon2mask

from aeseg.data.annotations import coco
from aeseg.data.sources.folder import Folder
from aeseg.types import UserError

pytest.importorskip("pycocotools")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
CORNERS = [10.0, 8.0, 90.0, 20.0, 70.0, 80.0, 15.0, 60.0]


def written(root, annotations, images=("a.png",)):
    listed = [{"id": number, "file_name": name, "height": 100, "width": 120} for number, name in enumerate(images)]
    categories = [{"id": 7, "name": "stem"}, {"id": 3, "name": "leaf"}]
    (root / "images").mkdir(exist_ok=True)
    for name in images:
        Image.fromarray(np.zeros((100, 120, 3), np.uint8)).save(root / "images" / name)
    (root / "all.json").write_text(json.dumps({"images": listed, "categories": categories, "annotations": annotations}))
    return Folder(root=str(root), labels="all.json")


def item(category, outline, area=1, image=0):
    return {"image_id": image, "category_id": category, "segmentation": outline, "area": area, "iscrowd": 0}


def runs(mask):
    """Return the run lengths of a mask, column by column, zeros first."""
    flat = mask.T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    return [0] * int(flat[0]) + np.diff([0, *edges, len(flat)]).tolist()


def test_polygons_and_run_lengths_of_two_kinds_are_one_region(tmp_path):
    from pycocotools import mask as reference

    expected = polygon2mask((100, 120), np.array(CORNERS).reshape(-1, 2)[:, ::-1] - 0.5)
    packed = reference.encode(np.asfortranarray(expected.astype(np.uint8)))
    for outline in ([CORNERS], {"size": [100, 120], "counts": runs(expected)}, {"size": [100, 120], "counts": packed["counts"].decode()}):
        source = written(tmp_path, [item(7, outline)])
        coco._read.cache_clear()
        label = source[0]["label"]
        assert np.count_nonzero((label == 2) & expected) / np.count_nonzero((label == 2) | expected) > 0.97
    assert [entry.name for entry in source.classes] == ["background", "leaf", "stem"]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source))[0]["label"], label)


def test_smaller_objects_lie_on_larger_ones(tmp_path):
    square = [20.0, 20.0, 30.0, 20.0, 30.0, 30.0, 20.0, 30.0]
    label = written(tmp_path, [item(3, [square], area=100), item(7, [CORNERS], area=4000)])[0]["label"]
    assert (label[25, 25], label[40, 50]) == (1, 2)


def test_images_without_an_entry_are_named_or_left_out(tmp_path):
    written(tmp_path, [], ("a.png", "b.png"))
    (tmp_path / "images/c.png").write_bytes((tmp_path / "images/a.png").read_bytes())
    with pytest.raises(UserError, match=r"1 of 3 images are not in all.json: c. Add them, or set only_labelled"):
        Folder(root=str(tmp_path), labels="all.json")
    assert len(Folder(root=str(tmp_path), labels="all.json", only_labelled=True)) == 2


@pytest.mark.parametrize(
    ("outline", "category", "says"),
    [
        ([[1.0, 2.0]], 3, "at least 3 corners"),
        ({"size": [100, 120], "counts": [5, 5]}, 3, "run lengths do not fill the image"),
        ({"size": [9, 9], "counts": [81]}, 3, "without a segmentation of 100x120 pixels"),
        ([], 3, "without a segmentation"),
        ([CORNERS], 9, "has the category 'id 9'; class_table has background, leaf, stem"),
    ],
)
def test_an_object_that_cannot_be_read_is_named(tmp_path, outline, category, says):
    source = written(tmp_path, [item(category, outline)])
    with pytest.raises(UserError, match=says):
        source[0]


def test_a_file_of_another_format_is_named(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "all.json").write_text("[]")
    with pytest.raises(UserError, match=r"all.json is not a COCO file: expected images, categories and annotations"):
        Folder(root=str(tmp_path), labels="all.json")
