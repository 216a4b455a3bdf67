import importlib.util
import sys
import time

import numpy as np
import pytest
from PIL import Image

from aeseg import spec
from aeseg.data.sources.tfds import dataset
from aeseg.types import IGNORE, UserError
from experiments import prepare
from experiments.console import cli

RNG = np.random.default_rng(0)


@pytest.fixture
def ade(tmp_path):
    """Make a tree like ADEChallengeData2016, with two training images and one validation image."""
    root = tmp_path / "ADEChallengeData2016"
    for folder, names in (("training", ("a", "b")), ("validation", ("c",))):
        for name in names:
            for kind, ending in (("images", "jpg"), ("annotations", "png")):
                (root / kind / folder).mkdir(parents=True, exist_ok=True)
                shape = (6, 8, 3) if kind == "images" else (6, 8)
                pixels = RNG.integers(0, 151, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(root / kind / folder / f"{name}.{ending}")
    lines = ["Idx\tRatio\tTrain\tVal\tName", *[f"{i}\t0.1\t1\t1\tthing {i};synonym, other" for i in range(1, 151)]]
    (root / "objectInfo150.txt").write_text("\n".join(lines))
    return root


def test_the_semantic_labels_of_ade_are_prepared_without_tensorflow(ade, tmp_path, capsys):
    flags = ["prepare", "--name=scene_parse150_semantic", f"--data_dir={tmp_path / 'tfds'}", f"--manual_dir={ade.parent}"]
    assert cli.guarded(prepare.run, flags) == 0
    assert "scene_parse150_semantic is in" in capsys.readouterr().out
    assert "tensorflow" not in sys.modules
    source = spec.build(dataset("scene_parse150_semantic", "train", str(tmp_path / "tfds")))
    assert len(source) == 2
    assert len(source.classes) == 150
    assert source.classes[149].name == "thing 150"
    for i in range(2):
        record = source[i]
        stored = np.asarray(Image.open(ade / f"annotations/training/{record['name']}.png"))
        np.testing.assert_array_equal(record["label"], np.where(stored == 0, IGNORE, stored - 1))
        np.testing.assert_array_equal(record["image"], np.asarray(Image.open(ade / f"images/training/{record['name']}.jpg")))
    assert len(spec.build(dataset("scene_parse150_semantic", "validation", str(tmp_path / "tfds")))) == 1
    assert prepare.prepare("scene_parse150_semantic", str(tmp_path / "tfds"))  # already prepared


def test_files_to_download_by_hand_are_requested(tmp_path):
    with pytest.raises(UserError, match=r"Expected the files of cityscapes in --manual_dir.*gtFine_trainvaltest.zip.*set --manual_dir"):
        prepare.prepare("cityscapes/semantic_segmentation", str(tmp_path))
    with pytest.raises(UserError, match="should have images/training, annotations/training"):
        prepare.prepare("scene_parse150_semantic", str(tmp_path), str(tmp_path))


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is installed")
def test_without_tensorflow_the_error_is_one_sentence(tmp_path, capsys):
    assert cli.guarded(prepare.run, ["prepare", "--name=oxford_iiit_pet", f"--data_dir={tmp_path}"]) == 2
    assert "TFDS needs TensorFlow to prepare oxford_iiit_pet" in capsys.readouterr().err


def test_without_a_network_the_error_comes_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(prepare.HOSTS, "oxford_iiit_pet", "http://127.0.0.1:9")  # the discard port: refused
    start = time.perf_counter()
    with pytest.raises(UserError, match=r"Cannot reach http://127.0.0.1:9 \(.*refused.*\), the source of the data set"):
        prepare.prepare("oxford_iiit_pet", str(tmp_path))
    assert time.perf_counter() - start < 10


def test_a_misspelt_name_gets_a_suggestion(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(UserError, match=r"TFDS has no data set 'oxford_iiit_pets'; did you mean oxford_iiit_pet"):
        prepare.prepare("oxford_iiit_pets", str(tmp_path))


def test_a_name_is_needed(capsys):
    assert cli.guarded(prepare.run, ["prepare"]) == 2
    assert "--name is missing" in capsys.readouterr().err
