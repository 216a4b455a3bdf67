import json

import numpy as np
import pytest
from PIL import Image

from aeseg import spec
from aeseg.data.inspection import description, report
from aeseg.data.inspection.suggestions import suggested
from aeseg.data.sources.scenes import Scenes
from aeseg.runs.data import split_config
from aeseg.types import UserError

QUIET = {"seconds": 60.0, "progress": lambda text: None}
SCENES = Scenes(records=12, height=64, width=64)


def saved(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def masks(tmp_path):
    """Make twelve scenes with masks of 0 and 255; the last equals the first."""
    for index in range(12):
        record = SCENES[index % 11]
        saved(tmp_path / f"data/images/{index:02d}.png", record["image"])
        saved(tmp_path / f"data/labels/{index:02d}.png", ((record["label"] > 0) * 255).astype(np.uint8))
    return tmp_path


def test_a_folder_becomes_a_description_with_three_disjoint_splits(masks):
    found = report.inspect(str(masks / "data"), str(masks / "out"), {}, **QUIET)
    assert found.questions == ()
    described = description.read(masks / "out/data.json")
    assert described == found.description
    sources = {split: spec.build(split_config(described, split)) for split in ("train", "validation", "test")}
    names = {split: {record.name for record in source.records} for split, source in sources.items()}
    assert sum(map(len, names.values())) == len(set.union(*names.values())) == 12
    assert sum({"00", "11"} <= members for members in names.values()) == 1, "copies are in one split"
    assert [item.name for item in sources["test"].classes] == ["background", "foreground"]
    assert set(np.unique(sources["train"][0]["label"])) == {0, 1}
    images = np.stack([Image.fromarray(sources["train"][index]["image"]) for index in range(len(sources["train"]))]) / 255
    assert (
        ", ".join(f"{mean:.3f} +- {std:.3f}" for mean, std in zip(images.mean((0, 1, 2)), images.std((0, 1, 2)), strict=True))
        in found.sections["Files"][-1]
    )
    assert "1 files are copies of others" in found.sections["Duplicates"][0]
    with Image.open(masks / "out/contact.png") as sheet:
        assert sheet.size[0] > 400
    assert {item.split(" = ")[0] for item in found.sections["Suggestions"]} >= {"window", "batch_size", "steps", "class_weights"}


def test_every_doubt_is_a_question_and_its_flag_answers_it(tmp_path):
    for index in range(4):
        saved(tmp_path / f"data/images/{index}.png", SCENES[index]["image"])
        saved(tmp_path / f"data/labels/{index}.png", np.minimum(SCENES[index]["label"], 2))
    found = report.inspect(str(tmp_path / "data"), str(tmp_path / "out"), {}, **QUIET)
    assert [question for question in found.questions if "--class_table" in question]
    found = report.inspect(str(tmp_path / "data"), str(tmp_path / "out"), {"class_table": "ground, disc, other"}, **QUIET)
    assert found.questions == ()
    assert any("disc" in line for line in found.sections["Classes"])


def test_duplicates_in_different_splits_are_a_warning(masks):
    for split, numbers in (("train", range(8)), ("val", (8, 9)), ("test", (10, 11))):
        (masks / f"data/{split}.txt").write_text("".join(f"{number:02d}\n" for number in numbers))
    found = report.inspect(str(masks / "data"), str(masks / "out"), {}, **QUIET)
    assert any("Warning: 1 pairs lie in different splits" in line for line in found.sections["Duplicates"])
    assert found.description["validation"] == {"list_file": "val.txt"}


def test_one_mask_for_each_object_needs_no_answer(tmp_path):
    for index in range(6):
        record = SCENES[index]
        saved(tmp_path / f"data/s{index}/images/s{index}.png", record["image"])
        for number in np.unique(record["label"])[1:]:
            saved(tmp_path / f"data/s{index}/masks/{number}.png", ((record["label"] == number) * 255).astype(np.uint8))
    found = report.inspect(str(tmp_path / "data"), str(tmp_path / "out"), {}, **QUIET)
    assert found.questions == ()
    source = spec.build(split_config(found.description, "train"))
    name = source.records[0].name
    np.testing.assert_array_equal(source[0]["label"], SCENES[int(name[1:])]["label"] > 0)


def test_unlabelled_images_and_few_images_are_described(tmp_path):
    saved(tmp_path / "data/a.png", SCENES[0]["image"])
    found = report.inspect(str(tmp_path / "data"), str(tmp_path / "out"), {}, **QUIET)
    assert len(spec.build(split_config(found.description, "train"))) == 1
    saved(tmp_path / "one/images/a.png", SCENES[0]["image"])
    saved(tmp_path / "one/labels/a.png", ((SCENES[0]["label"] > 0) * 255).astype(np.uint8))
    found = report.inspect(str(tmp_path / "one"), str(tmp_path / "out"), {}, **QUIET)
    assert any("1 images or groups cannot make 3 splits" in line for line in found.sections["Splits"])


def test_unreadable_files_are_counted_and_the_others_described(masks):
    (masks / "data/images/03.png").write_bytes((masks / "data/images/03.png").read_bytes()[:10])
    found = report.inspect(str(masks / "data"), str(masks / "out"), {}, **QUIET)
    assert any("1 files cannot be read: images/03.png" in line for line in found.sections["Files"])


@pytest.mark.parametrize("text", ["[]", "{}", "x", '{"source": {}, "train": {}, "validation": {}, "test": {}}', "[" * 99_999])
def test_an_invalid_description_is_refused(tmp_path, text):
    (tmp_path / "data.json").write_text(text)
    with pytest.raises(UserError, match="Write it with: inspect <folder>"):
        description.read(tmp_path / "data.json")


def test_suggestions_have_a_reason():
    found = suggested([(400, 600)] * 5, 100, None, [])
    assert [(item.name, item.value) for item in found] == [("window", "(256, 256)"), ("batch_size", "4"), ("steps", "5500")]
    assert all(item.reason for item in found)
    assert suggested([(70, 64)], 1, None, [])[0].value == "(64, 64)"
    assert json.dumps([item._asdict() for item in found])
