import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image

from aeseg.data.checks import check_labels, count, counted
from aeseg.data.sources.folder import Folder
from aeseg.data.sources.scenes import Scenes
from aeseg.types import IGNORE, UserError

RNG = np.random.default_rng(0)


def made(root, labels, **fields):
    """Make a folder of two classes with a label of each of these values."""
    for number, value in enumerate(labels):
        for part, pixels in (("images", RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)), ("labels", np.full((8, 8), 0, np.uint8) + value)):
            (root / part).mkdir(exist_ok=True, parents=True)
            Image.fromarray(pixels.astype(np.uint8)).save(root / part / f"{number}.png")
    return Folder(root=str(root), **{"class_table": "ground, leaf", **fields})


def checked(sources, strict=True, flag="strict=False", **how):
    return check_labels(sources, counted(sources, **how), strict, flag)


HALF = np.repeat(np.array([[0, 1]], np.uint8), 4, axis=1)


def splits(source):
    part = {"train": (0.0, 0.5), "validation": (0.5, 1.0)}
    return {split: Folder(**{**vars_of(source), "part": ends}) for split, ends in part.items()}


def vars_of(source):
    return {field.name: getattr(source, field.name) for field in dataclasses.fields(source)}


def test_fractions_and_notes_are_printed(tmp_path):
    lines = checked(splits(made(tmp_path, [HALF * 255] * 4)))
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
        checked(sources, flag="--check=warn")
    assert any(line.startswith("Warning: ") for line in checked(sources, strict=False))


def test_nearly_all_ignored_stops_and_one_class_above_999_in_1000_warns(tmp_path):
    label = np.full((64, 64), 255, np.uint8)
    label[0, :8] = [0, 1] * 4
    with pytest.raises(UserError, match=r"99.80 % of the pixels in the 2 labels of train are ignored"):
        checked(splits(made_large(tmp_path / "a", label)))
    rare = np.zeros((64, 64), np.uint8)
    rare[0, 0] = 1
    lines = checked(splits(made_large(tmp_path / "b", rare)))
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
        checked({"train": source, "test": Folder(**{**fields, "class_table": "ground, root"})})
    other = made(tmp_path / "b", [HALF] * 4)
    with pytest.raises(
        UserError, match=r"train and test would be read in different ways \(labels are masks: 255 is leaf and by the class table\)"
    ):
        checked({"train": source, "test": other})


def test_shared_images_stop_the_run_and_copies_give_a_warning(tmp_path):
    source = made(tmp_path, [HALF] * 4)
    fields = vars_of(source)
    sources = {"train": Folder(**{**fields, "part": (0.0, 0.75)}), "test": Folder(**{**fields, "part": (0.5, 1.0)})}
    with pytest.raises(UserError, match=r"train and test share 1 images: .*2.png"):
        checked(sources)
    shutil.copy(tmp_path / "images/0.png", tmp_path / "images/3.png")
    lines = checked(splits(source))
    assert lines[-1] == "Warning: train and validation share 1 images of the same bytes: 0.png = 3.png."


def test_a_label_without_a_class_always_stops(tmp_path):
    with pytest.raises(UserError, match=r"3.png holds the label 7"):
        checked(splits(made(tmp_path, [HALF, HALF, HALF, 7])), strict=False)


def test_a_sample_of_the_labels_only_warns(tmp_path):
    source = made(tmp_path, [0] * 9 + [HALF])
    with pytest.raises(UserError, match="have no pixel in the 9 labels of train"):
        checked({"train": Folder(**{**vars_of(source), "part": (0.0, 0.9)})})
    lines = checked({"train": Folder(**{**vars_of(source), "part": (0.0, 0.9)})}, limit_seconds=0, files=3, clock=iter(range(99)).__next__)
    assert lines[0].startswith("train: 3 of 9 labels")
    assert "Warning: 1 of 2 classes have no pixel in 3 of the 9 labels of train" in lines[1]


def test_any_source_is_counted_and_images_alone_need_no_count():
    counts = count(Scenes(records=5, height=32, width=32), 8)
    assert counts.pixels.sum() == 5 * 32 * 32
    assert counts.images[0] == 5
    assert counts.all_read
    assert checked({"train": Scenes(records=2, height=32, width=32, split="train")}) == []


def test_all_labels_are_read_only_if_the_time_limit_allows():
    source, ticks = Scenes(records=40, height=32, width=32), iter(range(0, 900, 10))
    assert count(source, 8, 39.0, 10, ticks.__next__).read == 10  # ten labels took 10 s, forty would take 40
    assert count(source, 8, 41.0, 10, iter(range(0, 900, 10)).__next__).read == 40


class Listed:
    """Records whose labels have one row each."""

    def __init__(self, labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        label = np.array([self.labels[index]], np.uint8)
        return {"name": f"set/{index}.png", "image": np.zeros((*label.shape, 3), np.uint8), "label": label}


def test_class_counts_exclude_ignored_pixels_and_image_sizes_include_them():
    counts = count(Listed([[0, 0, 1, IGNORE], [1, 1, 1, 1]]), 3)
    np.testing.assert_array_equal(counts.pixels, [2, 5, 0])
    np.testing.assert_array_equal(counts.presence, [4, 8, 0])
    np.testing.assert_array_equal(counts.images, [1, 2, 0])
    assert counts.ignored == 1


def test_a_label_outside_the_classes_is_named_with_its_record():
    with pytest.raises(UserError, match=r"set/1\.png has label 37 \(2 pixels\); expected 0\.\.2, or 255 to ignore"):
        count(Listed([[0, 1], [37, 37]]), 3)


def test_a_record_without_a_label_is_named():
    class Images(Listed):
        def __getitem__(self, index):
            return {key: value for key, value in super().__getitem__(index).items() if key != "label"}

    with pytest.raises(UserError, match=r"set/0\.png has no label, and the run learns from labels"):
        count(Images([[0]]), 3)
