import numpy as np
import pytest
from PIL import Image

from aeseg import spec
from aeseg.data.inspection import description
from aeseg.data.sources.scenes import Scenes
from aeseg.runs.data import split_config
from aeseg.types import UserError
from experiments import inspect


@pytest.fixture
def folder(tmp_path):
    source = Scenes(records=6, height=32, width=32)
    for part in ("images", "labels"):
        (tmp_path / "mine" / part).mkdir(parents=True)
    for index in range(6):
        Image.fromarray(source[index]["image"]).save(tmp_path / f"mine/images/{index}.png")
        Image.fromarray((source[index]["label"] > 0).astype(np.uint8)).save(tmp_path / f"mine/labels/{index}.png")
    return tmp_path


def test_a_folder_is_a_bare_word_and_the_description_is_named_last(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    assert inspect.run(["inspect", "mine", "--class_table=ground, shape", "--ignore_ids=(7,)"]) == 0
    text = capsys.readouterr().out
    assert text.rstrip().endswith("Next: --data=inspections/mine/data.json")
    for heading in ("Files", "Duplicates", "Splits", "Classes", "Suggestions", "Written"):
        assert f"\n{heading}\n" in text
    source = spec.build(split_config(description.read("inspections/mine/data.json"), "train"))
    assert [item.name for item in source.classes] == ["ground", "shape"]
    assert source.ignore_ids == (7,)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Expected a folder; got none"),
        (("a", "b"), "and one folder; got 'a b'"),
        (("absent",), "There is no directory absent"),
        (("mine", "--ignore_ids=seven"), r"Expected --ignore_ids like \(\); got 'seven'"),
        (("mine", "--channels=x"), "Expected --channels like 3; got 'x'"),
    ],
)
def test_wrong_folders_and_flags_are_named(folder, monkeypatch, arguments, says):
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match=says):
        inspect.run(["inspect", *arguments])
