import numpy as np
import pytest

from aeseg import spec
from aeseg.data.sources.arrays import Arrays
from aeseg.types import IGNORE, UserError
from experiments.console import cli
from tests.contract import check_source

RANDOM = np.random.default_rng(0)


def saved(root, **arrays):
    for name, array in arrays.items():
        np.save(root / f"{name}.npy", array)


@pytest.fixture
def root(tmp_path):
    """Six training images with labels of two classes, three validation images, and three test images."""
    for split, number in (("train", 6), ("validation", 3), ("test", 3)):
        images, labels = RANDOM.integers(0, 256, (number, 32, 32, 3), np.uint8), RANDOM.integers(0, 2, (number, 32, 32))
        labels[:, 0] = IGNORE
        saved(tmp_path, **{f"{split}_images": images, f"{split}_labels": labels})
    return tmp_path


def test_records_are_the_rows_of_the_arrays(root):
    source = Arrays(str(root), class_table="background, leaf")
    check_source(source)
    assert [entry.name for entry in source.classes] == ["background", "leaf"]
    np.testing.assert_array_equal(source[4]["image"], np.load(root / "train_images.npy")[4])
    np.testing.assert_array_equal(source[4]["label"], np.load(root / "train_labels.npy")[4])
    assert source[4]["name"] == "train_4"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_images_keep_their_type_and_have_one_channel(tmp_path, dtype):
    images = RANDOM.integers(0, np.iinfo(dtype).max, (2, 5, 7), dtype)
    saved(tmp_path, train_images=images)
    source = Arrays(str(tmp_path))
    check_source(source)
    assert (source.channels, source.classes) == (1, ())
    np.testing.assert_array_equal(source[1]["image"], images[1, ..., None])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, r"Expected the file .*train_images.npy; it does not exist. Save it with numpy.save, or set --config.data.root"),
        ({"train_images": np.zeros((2, 4, 4, 3))}, r"type uint8 or uint16; .* has \[2, 4, 4, 3\] of type float64"),
        ({"train_images": np.zeros((4, 4), np.uint8)}, r"Expected images \[n h w c\] or \[n h w\]"),
        ({"train_images": np.zeros((2, 4, 4), np.uint8), "train_labels": np.zeros((2, 4, 5), int)}, r"Expected labels \[2, 4, 4\]"),
        ({"train_images": np.zeros((2, 4, 4), np.uint8), "train_labels": np.zeros((2, 4, 4))}, r"of an integer type"),
        ({"train_images": np.zeros((2, 4, 4), np.uint8), "train_labels": np.zeros((2, 4, 4), int)}, r"needs names for its ids"),
        ({"train_images": np.array([{}, {}])}, r"Cannot read .*: Array can.t be memory-mapped: Python objects"),
    ],
)
def test_faulty_files_are_refused(tmp_path, arrays, message):
    saved(tmp_path, **arrays)
    with pytest.raises(UserError, match=message):
        Arrays(str(tmp_path))


def test_an_id_without_a_class_is_named_with_its_record(root):
    labels = np.load(root / "train_labels.npy")
    labels[2, 5, 5] = 9
    saved(root, train_labels=labels)
    with pytest.raises(UserError, match=r"label 2 of .*train_labels.npy.*9"):
        Arrays(str(root), class_table="2")[2]


def parsed(command, *argv):
    data = ("", "data")
    return cli.parse([command, *argv], "usage", config="folder" if command == "pretrain" else "folder:unet", data=data).config


def test_the_command_line_names_a_source_and_the_config_follows_its_images(root):
    flags = ("--data=arrays", f"--config.data.root={root}")
    pretraining = parsed("pretrain", *flags)
    assert pretraining.data.source.images_only
    segmentation = parsed("segment", *flags, "--config.data.class_table=background, leaf, stem")
    assert segmentation.method.classes == 3
    expected = np.load(root / "train_images.npy").mean(axis=(0, 1, 2)) / 255
    np.testing.assert_allclose(segmentation.method.encoder.mean, expected, atol=1e-3)
    run = spec.build(segmentation)
    assert [len(run.data.records(split)) for split in ("train", "validation", "test")] == [6, 3, 3]


def test_a_source_without_splits_cannot_be_named(monkeypatch):
    monkeypatch.setattr(Arrays, "__init__", lambda self, root: None)
    with pytest.raises(UserError, match=r"--data names sources with a field `split`; arrays has none"):
        parsed("pretrain", "--data=arrays")
