import numpy as np
import pytest
from PIL import Image

from aeseg import spec
from aeseg.runs import transfer
from aeseg.runs.workdir import comparable
from aeseg.types import UserError
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
    config.data.source.root, config.class_weights = str(camvid), "segnet"
    transfer.weigh_classes(config)
    assert config.method.class_weights == PROTOTXT


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
