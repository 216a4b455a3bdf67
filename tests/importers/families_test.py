"""aeseg/importers/families.py: import and export of complete foreign models."""

import json

import numpy as np
import pytest
import torch
import transformers
from ml_collections import ConfigDict

from aeseg.importers import families, files
from aeseg.spec import recipe
from aeseg.types import UserError
from tests.importers.cases import CONFIGS, find_toys, random_variables, same, toy_directory


@pytest.fixture(autouse=True)
def _toys(monkeypatch):
    find_toys(monkeypatch)


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_round_trip_is_exact(kind, tmp_path):
    path, tensors = toy_directory(tmp_path / "theirs", kind)
    model = families.load(path)
    assert families.is_encoder(model.described) == (kind == "encoder")
    method = ConfigDict({"encoder": model.described}) if kind == "encoder" else model.described
    assert families.save(str(tmp_path / "back"), method, model.variables) == []
    config, back = files.read(str(tmp_path / "back"))
    assert same(back, tensors)
    assert config["architectures"] == CONFIGS[kind]["architectures"]
    again = families.load(str(tmp_path / "back"))
    assert same(again.variables, model.variables)
    assert model.size == {"autoencoder": (16, 32)}.get(kind, (16, 16))


def test_names_may_lack_the_prefix_and_a_left_out_classifier_is_reported(tmp_path):
    path, tensors = toy_directory(tmp_path / "whole", "encoder")
    bare = {name.removeprefix("toy."): array for name, array in tensors.items()}
    files.write(str(tmp_path / "bare"), CONFIGS["encoder"], bare, {})
    files.write(str(tmp_path / "more"), CONFIGS["encoder"], {**tensors, "classifier.weight": np.zeros((9, 8))}, {})
    assert same(families.load(str(tmp_path / "bare")).variables, families.load(path).variables)
    assert families.load(str(tmp_path / "more")).notes == ("Left out classifier.weight (9, 8).",)


def test_images_are_standardised_by_the_directory_and_its_statistics_are_exported(tmp_path):
    path, tensors = toy_directory(tmp_path / "plain", "autoencoder")
    assert families.load(path).described.encoder.mean == (0.5, 0.5, 0.5)
    files.write(str(tmp_path / "said"), CONFIGS["autoencoder"], tensors, {"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 2]})
    model = families.load(str(tmp_path / "said"))
    assert (model.described.encoder.mean, model.described.encoder.std) == ((0.1, 0.2, 0.3), (1.0, 1.0, 2.0))
    assert model.notes == ("Images are standardised with mean (0.1, 0.2, 0.3) and std (1.0, 1.0, 2.0).",)
    families.save(str(tmp_path / "back"), model.described, model.variables)
    said = json.loads((tmp_path / "back" / "preprocessor_config.json").read_text())
    assert said["image_mean"] == [0.1, 0.2, 0.3]


def test_unsupported_tensors_are_left_out_and_reported(tmp_path):
    method = recipe("aeseg.methods", "segmenter", "tiny")
    method.encoder.norm = "batch"
    variables = random_variables(families.shapes(method, (16, 16), 3))
    notes = families.save(str(tmp_path), method, variables)
    assert notes[0] == "No family represents the whole method:"
    assert "  toy: Toy has a linear head; this is aeseg.models.heads.unet:UNetHead." in notes
    note = notes[-1]
    assert note.startswith("Left out: head (")
    assert note.endswith(" parameters); ToyModel has no such part.")
    model = families.load(toy_directory(tmp_path / "segmenter", "segmenter")[0])
    model.described.frozen_encoder = True
    notes = families.save(str(tmp_path / "back"), model.described, model.variables)
    assert notes == ["Not stored in config.json: method.frozen_encoder: false -> true"]
    method = ConfigDict({"encoder": recipe("aeseg.models.encoders", "dense", "tiny")})
    with pytest.raises(UserError, match=r"(?s)No family .* can represent this model or its encoder:\n.*  toy: Toy is a ConvNet"):
        families.save(str(tmp_path), method, {})


def test_an_unknown_architecture_lists_the_supported_architectures(tmp_path):
    path, _ = toy_directory(tmp_path / "bert", "encoder", model_type="bert")
    config = json.loads((tmp_path / "bert" / "config.json").read_text())
    (tmp_path / "bert" / "config.json").write_text(json.dumps({**config, "architectures": ["BertModel"]}))
    with pytest.raises(UserError, match=r"names the architecture 'BertModel' \(model_type 'bert'\); aeseg reads .*ToyModel"):
        families.load(path)
    (tmp_path / "bert" / "config.json").write_text("{}")
    with pytest.raises(UserError, match="names the architecture '' "):
        families.load(path)


def test_weights_of_another_size_are_listed(tmp_path):
    path, _ = toy_directory(tmp_path / "small", "encoder")
    (tmp_path / "small" / "config.json").write_text(json.dumps({**CONFIGS["encoder"], "widths": [4, 16]}))
    with pytest.raises(UserError, match=r"toy.level.1.convolution.weight: expected \(16, 4, 3, 3\), got \(8, 4, 3, 3\)"):
        families.load(path)


VIT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "patch_size": 16, "image_size": 64}
DECODER = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
CONVNEXT = {"hidden_sizes": [4, 8, 12, 16], "depths": [1, 1, 2, 1]}
BACKBONE = {**CONVNEXT, "out_features": ["stage1", "stage2", "stage3", "stage4"]}
MIT = {"hidden_sizes": [4, 8, 8, 16], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 2, 4], "decoder_hidden_size": 8}
UPERNET = {"hidden_size": 16, "auxiliary_in_channels": 12, "auxiliary_channels": 8, "num_labels": 5}


def in_transformers(name):
    """Return a small model of that class with EVERY tensor random: initial zeros would test nothing."""
    config = {
        "ViTModel": lambda: transformers.ViTConfig(**VIT),
        "ViTMAEForPreTraining": lambda: transformers.ViTMAEConfig(**VIT, **{f"decoder_{key}": value for key, value in DECODER.items()}),
        "ConvNextV2Model": lambda: transformers.ConvNextV2Config(**CONVNEXT),
        "SegformerForSemanticSegmentation": lambda: transformers.SegformerConfig(**MIT, num_labels=5),
        "UperNetForSemanticSegmentation": lambda: transformers.UperNetConfig(
            backbone_config=transformers.ConvNextConfig(**BACKBONE), **UPERNET
        ),
    }[name]()
    model = getattr(transformers, name)(config, **POOLER.get(name, {}))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.2 + (0.5 if key.endswith("var") else -0.1))
    return model.eval()


POOLER = {"ViTModel": {"add_pooling_layer": False}}
"""ViTModel's pooler, a layer on the class token, is neither read nor written."""

OTHERS = {"ConvNextV2Model": ("layernorm.",)}
"""Tensors that aeseg lacks: they are exported with values that change nothing."""


WHOLE = ("ViTModel", "ViTMAEForPreTraining", "ConvNextV2Model", "SegformerForSemanticSegmentation", "UperNetForSemanticSegmentation")


@pytest.mark.parametrize("name", WHOLE)
def test_transformers_reads_an_exported_model_completely_and_bit_for_bit(name, tmp_path):
    theirs = in_transformers(name)
    theirs.save_pretrained(tmp_path / "theirs")
    model = families.load(str(tmp_path / "theirs"))
    alone = families.is_encoder(model.described)
    families.save(str(tmp_path / "back"), ConfigDict({"encoder": model.described}) if alone else model.described, model.variables)
    back, report = type(theirs).from_pretrained(tmp_path / "back", output_loading_info=True, **POOLER.get(name, {}))
    assert {key: names for key, names in report.items() if names} == {}
    tensors = theirs.state_dict()
    kept = [key for key in back.state_dict() if not key.startswith(OTHERS.get(name, ())) and "num_batches" not in key]
    assert [key for key in kept if not torch.equal(back.state_dict()[key], tensors[key])] == []
    assert same(families.load(str(tmp_path / "back")).variables, model.variables)


def test_each_architecture_belongs_to_one_family():
    names = [name for family in families.families().values() for name in family.architectures]
    assert len(names) == len(set(names))
