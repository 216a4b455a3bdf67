"""SegFormer against transformers: logits, loss and every gradient, with random numbers in every tensor."""

import numpy as np
import pytest
import transformers

from aeseg.importers import families, segformer
from aeseg.importers.rules import from_foreign, to_foreign
from aeseg.methods.segmenter import Segmenter
from aeseg.spec import differences, recipe, spec
from aeseg.types import UserError
from tests.importers import oracle, segmenters

CONFIG = {
    "depths": (2, 1, 1, 1),
    "hidden_sizes": (8, 12, 16, 24),
    "num_attention_heads": (1, 2, 2, 3),
    "decoder_hidden_size": 12,
    "num_labels": 3,
    "mlp_ratios": (2, 2, 2, 2),
}


@pytest.fixture(scope="module")
def theirs():
    model = segmenters.randomised(transformers.SegformerForSemanticSegmentation(transformers.SegformerConfig(**CONFIG)))
    model.config.drop_path_rate = 0.0
    return model


@pytest.mark.parametrize(("size", "slopes"), [((64, 64), False), ((32, 96), True)])
def test_logits_loss_and_gradients_equal_transformers(theirs, tmp_path, size, slopes):
    segmenters.compare(theirs, segformer, tmp_path, size, slopes)


def test_weights_and_config_survive_a_round_trip(theirs, tmp_path):
    config, tensors = oracle.saved(theirs, tmp_path)
    described = segformer.spec_of(config)
    again = to_foreign(segformer.rules(described), from_foreign(segformer.rules(described), tensors))
    assert again.keys() == tensors.keys()
    assert all(np.array_equal(again[name], tensors[name]) for name in tensors if "num_batches" not in name)
    assert differences(segformer.spec_of(segformer.config_of(described)), described) == []


def test_an_exported_encoder_loads_in_transformers_with_no_key_missing(tmp_path):
    described = recipe("aeseg.models.encoders", "mit", "small")
    info = segmenters.loaded_in_transformers(transformers.SegformerModel, segformer, described, tmp_path / "back", (32, 32))
    assert info["missing_keys"] == info["unexpected_keys"] == info["mismatched_keys"] == set()


def test_the_encoder_of_a_classifier_is_read():
    described = segformer.spec_of({"architectures": ["SegformerForImageClassification"], "model_type": "segformer"})
    b0 = recipe("aeseg.models.encoders", "mit", "b0")
    assert {line.split(":")[0] for line in differences(described, b0)} == {"config.mean", "config.std"}


def test_unsupported_options_are_refused():
    with pytest.raises(UserError, match=r"one ratio for all stages; config.json has 'relu' and \[4\]"):
        segformer.spec_of({"architectures": ["SegformerModel"], "hidden_act": "relu"})
    with pytest.raises(UserError, match="SegFormer needs MiT; this model has ConvNet"):
        segformer.config_of(recipe("aeseg.methods", "segmenter"))
    narrow = _segmenter()
    narrow.head.strides = (4, 8)
    with pytest.raises(UserError, match=r"this head reads \[4, 8\]. Set strides=\(\)"):
        segformer.config_of(narrow)


def _segmenter():
    encoder, head = recipe("aeseg.models.encoders", "mit", "small"), recipe("aeseg.models.heads", "segformer", "small")
    return spec(Segmenter, encoder=encoder, head=head, classes=2)


def test_a_folder_without_a_preprocessor_file_is_standardised_as_in_transformers(theirs, tmp_path):
    oracle.saved(theirs, tmp_path)
    assert not (tmp_path / "preprocessor_config.json").exists()
    processor = transformers.SegformerImageProcessor()
    model = families.load(str(tmp_path))
    np.testing.assert_allclose(model.described.encoder.mean, processor.image_mean)
    np.testing.assert_allclose(model.described.encoder.std, processor.image_std)
    assert "There is no preprocessor_config.json: images are standardised with the family's mean" in model.notes[-1]
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": [0.5], "image_std": [0.1]}')
    assert families.load(str(tmp_path)).described.encoder.std == (0.1,)
