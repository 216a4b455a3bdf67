import json

import numpy as np
import pytest
from PIL import Image

from aeseg.data.inspection.layout import guess
from aeseg.types import UserError


def files(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("json"):
            (root / name).write_text(json.dumps({"shapes": []}))
        elif name.endswith(("txt", "yaml")):
            (root / name).write_text("names: [leaf]\n" if name.endswith("yaml") else "leaf\n")
        else:
            Image.fromarray(np.zeros((4, 4), np.uint8)).save(root / name)
    return str(root)


@pytest.mark.parametrize(
    ("names", "kind", "fields"),
    [
        (("images/a.png", "labels/a.png"), "a folder of images", {"images": "images", "labels": "labels"}),
        (("JPEGImages/a.jpg", "SegmentationClass/a.png"), "a folder of images", {"images": "JPEGImages", "labels": "SegmentationClass"}),
        (("images/a.png", "labels/a.png", "fov/a.gif"), "a folder of images", {"images": "images", "labels": "labels", "roi": "fov"}),
        (("a.png", "b.png", "a_mask.png", "b_mask.png"), "labels beside images", {"images": ".", "labels": ".", "label_suffix": "_mask"}),
        (("a.png", "a.json"), "LabelMe", {"images": ".", "labels": "."}),
        (("a.png", "sub/b.jpg"), "images alone", {"images": ".", "labels": ""}),
        (
            ("x1/images/x1.png", "x1/masks/1.png", "x1/masks/2.png", "x2/images/x2.png", "x2/masks/3.png"),
            "one mask file for each object",
            {"images": ".", "labels": ".", "image_name": "{stem}/images/{stem}", "label_name": "{stem}/masks/*"},
        ),
    ],
)
def test_a_layout_is_guessed_by_names(tmp_path, names, kind, fields):
    found = guess(files(tmp_path, *names))
    assert found.kind.startswith(kind)
    assert {name: value for name, value in found.fields.items() if name != "only_labelled"} == fields
    assert found.splits == {}


@pytest.mark.parametrize(
    ("train", "val"),
    [
        (("images/train", "labels/train"), ("images/val", "labels/val")),
        (("train/images", "train/masks"), ("valid/images", "valid/masks")),
        (("train", "trainannot"), ("val", "valannot")),
    ],
)
def test_folders_of_splits_are_found(tmp_path, train, val):
    found = guess(files(tmp_path, *(f"{folder}/a.png" for folder in (*train, *val))))
    assert found.splits == {
        "train": {"images": train[0], "labels": train[1]},
        "validation": {"images": val[0], "labels": val[1]},
    }


def test_cityscapes_is_found_by_its_names(tmp_path):
    names = [
        f"{top}/{split}/{city}/{city}_1_{end}.png"
        for split, city in (("train", "aachen"), ("train", "bochum"), ("val", "ulm"))
        for top, end in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelIds"), ("gtFine", "gtFine_color"))
    ]
    found = guess(files(tmp_path, *names))
    assert found.splits["train"] == {"images": "leftImg8bit/train", "labels": "gtFine/train"}
    assert found.fields["label_name"] == "{stem}_gtFine_labelIds"


def test_lists_of_splits_are_found(tmp_path):
    root = files(tmp_path, "images/a.png", "labels/a.png", "splits/train.txt", "splits/val.txt", "splits/test.txt")
    assert {split: own["list_file"] for split, own in guess(root).splits.items()} == {
        "train": "splits/train.txt",
        "validation": "splits/val.txt",
        "test": "splits/test.txt",
    }


def test_published_layouts_are_recognised(tmp_path):
    files(tmp_path / "nn", "imagesTr/a_0000.png", "imagesTr/a_0001.png", "labelsTr/a.png")
    (tmp_path / "nn/dataset.json").write_text(json.dumps({"labels": {"background": 0, "leaf": 1}}))
    found = guess(str(tmp_path / "nn"))
    assert (found.kind, found.table) == ("nnU-Net", "dataset.json")
    assert found.fields["channels"] == 2
    files(tmp_path / "coco", "images/a.png")
    (tmp_path / "coco/all.json").write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    assert guess(str(tmp_path / "coco")).fields == {"images": "images", "labels": "all.json", "only_labelled": True}
    root = files(tmp_path / "yolo", "images/train/a.png", "labels/train/a.txt", "images/val/a.png", "labels/val/a.txt", "data.yaml")
    found = guess(root)
    assert (found.table, sorted(found.splits)) == ("data.yaml", ["train", "validation"])


def test_a_folder_without_images_lists_its_files(tmp_path):
    files(tmp_path, "notes.txt")
    with pytest.raises(UserError, match=r"There is no image in .*; its files end in .txt"):
        guess(str(tmp_path))
