import json

import numpy as np
import pytest

from aeseg.data.modalities import captions
from aeseg.types import UserError
from tests.data.modalities import cases

TABLES = {
    "c.csv": 'image,caption\na.png,"a crack, wet"\nsub/c.png,dry\n',
    "mapped.json": json.dumps({"a.png": "a crack, wet", "sub/c": "dry"}),
    "listed.json": json.dumps([{"image": "a.png", "caption": "a crack, wet"}, {"file_name": "sub/c.png", "text": "dry"}]),
    "coco.json": json.dumps(
        {
            "images": [{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "sub/c.png"}],
            "annotations": [{"image_id": 8, "caption": "dry"}, {"image_id": 7, "caption": "a crack, wet"}],
        }
    ),
}


def reader(root, place, length=16):
    return captions.reader(str(root), place, length, cases.STEMS)


def padded(text, length=16):
    return np.array([*text.encode(), *[0] * (length - len(text.encode()))], np.uint8)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_gives_each_image_its_caption(tmp_path, name):
    (tmp_path / name).write_text(TABLES[name])
    ours = reader(tmp_path, name)
    for image, text in (("a", "a crack, wet"), ("sub/c", "dry"), ("b", "")):
        found = cases.read(ours, image)
        np.testing.assert_array_equal(found["caption"], padded(text))
        assert found["caption"].dtype == np.uint8
        assert found["has_caption"] == bool(text)
    assert ours.notes == (f"1 of 3 images have no entry in {tmp_path}/{name}, and count as missing it: b",)


def test_a_folder_of_text_files_gives_each_image_its_caption(tmp_path):
    (tmp_path / "captions/sub").mkdir(parents=True)
    (tmp_path / "captions/a.txt").write_text("  nass, größer\n")
    (tmp_path / "captions/sub/c.txt").write_text("dry")
    ours = reader(tmp_path, "captions")
    np.testing.assert_array_equal(cases.read(ours)["caption"], padded("nass, größer"))
    np.testing.assert_array_equal(cases.read(ours, "sub/c")["caption"], padded("dry"))
    missing = cases.read(ours, "b")
    assert not missing["caption"].any()
    assert not missing["has_caption"]


def test_several_captions_of_one_image_are_its_lines(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps({"a": ["wet", "a crack"]}))
    np.testing.assert_array_equal(cases.read(reader(tmp_path, "c.json"))["caption"], padded("wet\na crack"))


def test_a_caption_that_is_too_long_is_refused_and_not_cut(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps({"a": "größer"}))
    np.testing.assert_array_equal(cases.read(reader(tmp_path, "c.json", 8))["caption"], np.frombuffer("größer".encode(), np.uint8))
    with pytest.raises(UserError, match=r"The caption of a has 8 bytes; expected at most caption_bytes=7. Set caption_bytes=8"):
        cases.read(reader(tmp_path, "c.json", 7))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.csv", "a.png,a crack\n", r"should have a header with image or file .*got 'a.png,a crack'"),
        ("c.csv", "image,caption\na.png,a crack, wet\n", "put captions with commas in quotes"),
        ("c.json", "{", "should hold captions by image name.*JSONDecodeError"),
        ("c.json", '{"a": 3}', "a name or caption that is no text"),
        ("c.json", '[{"image": "a"}]', "KeyError: 'caption'"),
    ],
)
def test_a_table_that_cannot_be_read_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        reader(tmp_path, name)
    with pytest.raises(UserError, match=r"at least 1 byte; got caption_bytes=0"):
        reader(tmp_path, name, 0)
