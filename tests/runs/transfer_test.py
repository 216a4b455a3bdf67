import numpy as np
import pytest
from PIL import Image

from aeseg import spec
from aeseg.runs import transfer
from aeseg.runs.data import Data
from aeseg.runs.workdir import comparable
from aeseg.types import IGNORE, UserError
from experiments.console import cli

PROTOTXT = (0.2595, 0.1826, 4.5640, 0.1417, 0.9051, 0.3826, 9.6446, 1.8418, 0.6823, 6.2478, 7.3614)
"""class_weighting of labels 0 to 10, in segnet_train.prototxt and segnet_basic_train.prototxt of alexgkendall/SegNet-Tutorial."""


@pytest.fixture
def camvid(tmp_path):
    """Make CamVid's folders with one training image that has every label, also void."""
    for folder, pixels in (("train", np.zeros((3, 4, 3), np.uint8)), ("trainannot", np.arange(12, dtype=np.uint8).reshape(3, 4))):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "a.png")
    (tmp_path / "train.txt").write_text("/SegNet/CamVid/train/a.png /SegNet/CamVid/trainannot/a.png\n")
    return tmp_path


def test_segnet_s_published_weights_equal_its_prototxt_label_by_label(camvid):
    config = cli.load_config("camvid_segnet:segnet_basic")
    config.data.source.root = str(camvid)
    classes = spec.build(config.data).records("train").classes
    assert transfer.published_weights([name for name, _ in classes]) == PROTOTXT


class Labels:
    """Two records of three classes per split; counts how often each label is read."""

    classes = (("a", (0, 0, 0)), ("b", (0, 0, 1)), ("c", (0, 0, 2)))
    arrays = (np.array([[0, 0, 1, IGNORE]], np.uint8), np.array([[1, 1, 1, 2]], np.uint8))

    def __init__(self, arrays=arrays):
        self.arrays, self.read = arrays, 0

    def __len__(self):
        return len(self.arrays)

    def __getitem__(self, index):
        self.read += 1
        return {"image": np.zeros((1, 4, 3), np.uint8), "label": self.arrays[index], "name": str(index)}


@pytest.fixture
def records(monkeypatch):
    """Replace the sources of the splits."""
    sources = {split: Labels() for split in ("train", "validation")}
    monkeypatch.setattr(Data, "records", lambda data, split: sources[split])
    return sources


def segmenter_config(**fields):
    return cli.set_fields(cli.load_config("scenes:unet"), {"method.classes": 3, "data.fraction": 1.0, **fields})


def test_each_label_is_read_once_and_the_weights_use_all_training_labels(records):
    config = segmenter_config(class_weights="median_frequency")
    lines = transfer.check_labels(config)
    assert lines[0].startswith("train: 2 of 2 labels: a 25.00 % (1 images)")
    assert [source.read for source in records.values()] == [2, 2]
    # frequencies 2 / 4, 4 / 8 and 1 / 4 of the pixels of the images that have the class (Eigen & Fergus 2015, section 4.3.1)
    assert config.method.class_weights == (1.0, 1.0, 2.0)


def test_weights_of_a_fraction_count_only_its_labels(records):
    config = segmenter_config(class_weights="median_frequency", **{"data.fraction": 0.5})
    kept = spec.build(config.data).training(config.seed)[0]["name"]
    transfer.check_labels(config)
    # of record 0: 2 / 4, 1 / 4 and none; of record 1: none, 3 / 4 and 1 / 4
    assert config.method.class_weights == {"0": (0.75, 1.5, 0.0), "1": (0.0, 0.666667, 2.0)}[kept]


def test_training_labels_that_are_all_ignored_stop_the_run_with_the_checks_off(records):
    records["train"].arrays = (np.full((1, 4), IGNORE, np.uint8),)
    with pytest.raises(UserError, match="every pixel of the training labels is ignored"):
        transfer.check_labels(segmenter_config(**{"data.strict": False}))
    with pytest.raises(UserError, match=r"No pixel in the 1 labels of train can be learned from.* --config\.data\.strict=False"):
        transfer.check_labels(segmenter_config())


FROZEN = {"optimiser.freeze": ("encoder/*",), "transfer": "scratch"}


@pytest.mark.parametrize("fields", [FROZEN, {"transfer": "linear-probe"}])
def test_every_frozen_encoder_runs_in_evaluation_mode_also_a_random_one(fields):
    config = cli.load_config("camvid_labels")
    config.update_from_flattened_dict(fields)
    transfer.chosen(config, lambda state: (state, []))
    assert config.method.frozen_encoder


def test_a_random_encoder_s_averages_move_with_each_batch_on_request_as_in_earlier_versions():
    config = cli.load_config("camvid_labels")
    config.update_from_flattened_dict({**FROZEN, "statistics": "pretrained"})
    transfer.chosen(config, None)
    assert not config.method.frozen_encoder


def test_statistics_distinguish_runs_only_if_the_encoder_is_frozen():
    """A config without the field is from a version that kept the averages of pretraining."""
    for fields, differs in ((FROZEN, True), ({"transfer": "linear-probe"}, True), ({"transfer": "scratch"}, False), ({}, False)):
        config = cli.load_config("camvid_labels")
        config.update_from_flattened_dict(fields)
        old = spec.plain(config)
        del old["statistics"]
        assert (comparable(old) != comparable(config)) == differs, fields
        assert spec.build_run(old).statistics == "pretrained"
    with pytest.raises(UserError, match="statistics must be one of re-estimated, pretrained; got 'none'"):
        spec.build_run({**spec.plain(config), "statistics": "none"})


def test_an_encoder_that_thaws_is_not_frozen():
    config = cli.load_config("camvid_labels")
    config.update_from_flattened_dict({"optimiser.freeze": ("encoder/*",), "optimiser.thaw": (100, 150)})
    transfer.chosen(config, lambda state: (state, []))
    assert not config.method.frozen_encoder
