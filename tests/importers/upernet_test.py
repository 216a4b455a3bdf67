"""UPerNet with ConvNeXt against transformers: logits, loss and every gradient, with random numbers in every tensor."""

import numpy as np
import pytest
import transformers

from aeseg.importers import upernet
from aeseg.importers.rules import from_foreign, to_foreign
from aeseg.spec import differences, recipe
from aeseg.types import UserError
from tests.importers import oracle, segmenters

CONVNEXT = {"depths": [1, 1, 2, 1], "hidden_sizes": [4, 6, 8, 10], "out_features": list(upernet.STAGES)}
CONFIG = {"hidden_size": 8, "auxiliary_channels": 6, "num_labels": 3}


@pytest.fixture(scope="module")
def theirs():
    config = transformers.UperNetConfig(backbone_config=transformers.ConvNextConfig(**CONVNEXT), **CONFIG)
    return segmenters.randomised(transformers.UperNetForSemanticSegmentation(config))


@pytest.mark.parametrize(("size", "slopes"), [((64, 64), False), ((32, 96), True)])
def test_logits_loss_and_gradients_equal_transformers(theirs, tmp_path, size, slopes):
    segmenters.compare(theirs, upernet, tmp_path, size, slopes)


def test_weights_and_config_survive_a_round_trip(theirs, tmp_path):
    config, tensors = oracle.saved(theirs, tmp_path)
    described = upernet.spec_of(config)
    again = to_foreign(upernet.rules(described), from_foreign(upernet.rules(described), tensors))
    assert again.keys() == tensors.keys()
    assert all(np.array_equal(again[name], tensors[name]) for name in tensors if "num_batches" not in name)
    assert differences(upernet.spec_of(upernet.config_of(described)), described) == []


def test_unsupported_options_are_refused():
    with pytest.raises(UserError, match=r"needs backbone model_type 'convnext'; config.json has 'swin'. Use other weights"):
        upernet.spec_of({"backbone_config": {"model_type": "swin"}})
    with pytest.raises(UserError, match="UPerNet is a whole Segmenter; got ConvNet"):
        upernet.config_of(recipe("aeseg.models.encoders", "convnet"))
    described = upernet.spec_of({"backbone_config": {"model_type": "convnext", "out_features": upernet.STAGES}})
    described.encoder.normed = (32,)
    with pytest.raises(UserError, match=r"reads all four strides .*; this head has strides=\(\), its encoder normed=\(32,\)"):
        upernet.config_of(described)
    described.head = recipe("aeseg.models.heads", "linear")
    with pytest.raises(UserError, match="UPerNet needs UPerNetHead; this model has LinearHead"):
        upernet.config_of(described)
