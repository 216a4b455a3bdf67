import numpy as np
import pytest
from PIL import Image

from aeseg.runs import transfer
from experiments.console import cli

PROTOTXT = (0.2595, 0.1826, 4.5640, 0.1417, 0.9051, 0.3826, 9.6446, 1.8418, 0.6823, 6.2478, 7.3614)
"""class_weighting of labels 0 to 10, in segnet_train.prototxt and segnet_basic_train.prototxt of alexgkendall/SegNet-Tutorial."""


@pytest.fixture
def camvid(tmp_path):
    """CamVid's folders with one training image, which holds each label, void too."""
    for folder, pixels in (("train", np.zeros((3, 4, 3), np.uint8)), ("trainannot", np.arange(12, dtype=np.uint8).reshape(3, 4))):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "a.png")
    (tmp_path / "train.txt").write_text("/SegNet/CamVid/train/a.png /SegNet/CamVid/trainannot/a.png\n")
    return tmp_path


def test_segnet_s_published_weights_are_those_of_its_prototxt_label_by_label(camvid):
    config = cli.load_config("camvid_segnet:segnet_basic")
    config.data.source.root, config.class_weights = str(camvid), "segnet"
    transfer.weigh_classes(config)
    assert config.method.class_weights == PROTOTXT
