import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image

from aeseg.data.checks import check_labels, count
from aeseg.data.sources.folder import Folder
from aeseg.data.sources.scenes import Scenes
from aeseg.types import UserError

RNG = np.random.default_rng(0)


def made(root, labels, **fields):
    """Make a folder of two classes with a label of each of these values."""
    for number, value in enumerate(labels):
        for part, pixels in (("images", RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)), ("labels", np.full((8, 8), 0, np.uint8) + value)):
            (root / part).mkdir(exist_ok=True, parents=True)
            Image.fromarray(pixels.astype(np.uint8)).save(root / part / f"{number}.png")
    return Folder(root=str(root), **{"class_table": "ground, leaf", **fields})


HALF = np.repeat(np.array([[0, 1]], np.uint8), 4, axis=1)


def splits(source):
    part = {"train": (0.0, 0.5), "validation": (0.5, 1.0)}
    return {split: Folder(**{**vars_of(source), "part": ends}) for split, ends in part.items()}


def vars_of(source):
    return {field.name: getattr(source, field.name) for field in dataclasses.fields(source)}


def test_fractions_and_notes_are_printed(tmp_path):
    lines = check_labels(splits(made(tmp_path, [HALF * 255] * 4)))
    assert lines == [
        "Note: labels are masks: 255 is leaf.",
        "train: 2 of 2 labels: ground 50.00 % (2 images), leaf 50.00 % (2), ignored 0.00 %",
        "validation: 2 of 2 labels: ground 50.00 % (2 images), leaf 50.00 % (2), ignored 0.00 %",
    ]


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([0, 0, HALF, HALF], r"1 of 2 classes have no pixel in the 2 labels of train: leaf. Is class_table what the labels mean"),
        ([HALF, HALF, 255, 255], r"No pixel in the 2 labels of validation can be scored: all 128 are ignored"),
        ([255, 255, HALF, HALF], r"No pixel in the 2 labels of train can be learned from"),
    ],
)
def test_unusable_labels_stop_the_run_unless_the_flag_is_set(tmp_path, labels, says):
    sources = splits(made(tmp_path, labels))
    with pytest.raises(UserError, match=rf"{says}.* let it pass with --check=warn"):
        check_labels(sources, flag="--check=warn")
    assert any(line.startswith("Warning: ") for line in check_labels(sources, strict=False))


def test_nearly_all_ignored_stops_and_one_class_above_999_in_1000_warns(tmp_path):
    label = np.full((64, 64), 255, np.uint8)
    label[0, :8] = [0, 1] * 4
    with pytest.raises(UserError, match=r"99.80 % of the pixels in the 2 labels of train are ignored"):
        check_labels(splits(made_large(tmp_path / "a", label)))
    rare = np.zeros((64, 64), np.uint8)
    rare[0, 0] = 1
    lines = check_labels(splits(made_large(tmp_path / "b", rare)))
    assert lines[-2].startswith("Warning: ground has 99.976 % of the labelled pixels in the 2 labels of train")


def made_large(root, label):
    for part in ("images", "labels"):
        (root / part).mkdir(parents=True)
        for number in range(4):
            pixels = label if part == "labels" else RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / part / f"{number}.png")
    return Folder(root=str(root), class_table="ground, leaf")


def test_splits_with_other_classes_or_codings_are_refused(tmp_path):
    source = made(tmp_path / "a", [HALF * 255] * 4)
    fields = vars_of(source)
    with pytest.raises(UserError, match=r"train has the classes ground, leaf, test has ground, root: say what labels mean once"):
        check_labels({"train": source, "test": Folder(**{**fields, "class_table": "ground, root"})})
    other = made(tmp_path / "b", [HALF] * 4)
    with pytest.raises(
        UserError, match=r"train and test would be read in different ways \(labels are masks: 255 is leaf and by the class table\)"
    ):
        check_labels({"train": source, "test": other})


def test_shared_images_stop_the_run_and_copies_give_a_warning(tmp_path):
    source = made(tmp_path, [HALF] * 4)
    fields = vars_of(source)
    sources = {"train": Folder(**{**fields, "part": (0.0, 0.75)}), "test": Folder(**{**fields, "part": (0.5, 1.0)})}
    with pytest.raises(UserError, match=r"train and test share 1 images: .*2.png"):
        check_labels(sources)
    shutil.copy(tmp_path / "images/0.png", tmp_path / "images/3.png")
    lines = check_labels(splits(source))
    assert lines[-1] == "Warning: train and validation share 1 images of the same bytes: 0.png = 3.png."


def test_a_label_without_a_class_always_stops(tmp_path):
    with pytest.raises(UserError, match=r"3.png holds the label 7"):
        check_labels(splits(made(tmp_path, [HALF, HALF, HALF, 7])), strict=False)


def test_a_sample_of_the_labels_only_warns(tmp_path):
    source = made(tmp_path, [0] * 9 + [HALF])
    with pytest.raises(UserError, match="have no pixel in the 9 labels of train"):
        check_labels({"train": Folder(**{**vars_of(source), "part": (0.0, 0.9)})})
    lines = check_labels(
        {"train": Folder(**{**vars_of(source), "part": (0.0, 0.9)})}, limit_seconds=0, files=3, clock=iter(range(99)).__next__
    )
    assert lines[0].startswith("train: 3 of 9 labels")
    assert "Warning: 1 of 2 classes have no pixel in 3 of the 9 labels of train" in lines[1]


def test_any_source_is_counted_and_images_alone_need_no_count():
    counts = count(Scenes(records=5, height=32, width=32), 8, 9.0, 200)
    assert counts.pixels.sum() == 5 * 32 * 32
    assert counts.images[0] == 5
    assert counts.all_read
    assert check_labels({"train": Scenes(records=2, height=32, width=32, split="train")}) == []


def test_all_labels_are_read_only_if_the_time_limit_allows():
    source, ticks = Scenes(records=40, height=32, width=32), iter(range(0, 900, 10))
    assert count(source, 8, 39.0, 10, ticks.__next__).read == 10  # ten labels took 10 s, forty would take 40
    assert count(source, 8, 41.0, 10, iter(range(0, 900, 10)).__next__).read == 40
