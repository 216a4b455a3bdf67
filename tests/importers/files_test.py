"""aeseg/importers/files.py: Hugging Face directories; only safetensors."""

import json
import re
import struct

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from aeseg.importers import files
from aeseg.types import UserError

TENSORS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.float32([1, -2])}


@pytest.fixture
def directory(tmp_path):
    files.write(str(tmp_path / "model"), {"model_type": "toy"}, TENSORS, {"image_mean": [0.5]})
    return tmp_path / "model"


def test_written_files_are_read_back(directory):
    config, tensors = files.read(str(directory))
    assert config == {"model_type": "toy"}
    assert {name: array.tolist() for name, array in tensors.items()} == {name: array.tolist() for name, array in TENSORS.items()}
    assert json.loads((directory / "preprocessor_config.json").read_text()) == {"image_mean": [0.5]}
    assert files.read(str(directory / "model.safetensors"))[1].keys() == TENSORS.keys()
    with pytest.raises(UserError, match=r"model.safetensors exists already. Name another --output"):
        files.write(str(directory), {}, TENSORS, {})


def test_an_array_that_is_not_contiguous_is_written_right(tmp_path):
    """safetensors by itself would write the underlying memory, in another order."""
    files.write(str(tmp_path), {"model_type": "toy"}, {"a": TENSORS["a.weight"].T}, {})
    np.testing.assert_array_equal(load_file(tmp_path / "model.safetensors")["a"], TENSORS["a.weight"].T)


def test_half_precision_is_read_as_float32(tmp_path):
    narrow = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16, "float64": np.float64}
    (tmp_path / "config.json").write_text("{}")
    arrays = {name: np.array([1.5, -2], dtype) for name, dtype in narrow.items()}
    save_file({**arrays, "count": np.array(3, np.int64)}, tmp_path / "model.safetensors")
    _, tensors = files.read(str(tmp_path))
    assert {name: (tensors[name].dtype.name, tensors[name].tolist()) for name in narrow} == dict.fromkeys(narrow, ("float32", [1.5, -2]))
    assert tensors["count"].dtype == np.int64


def test_shards_are_joined_and_a_missing_shard_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    shards = {"model-1-of-2.safetensors": "a.weight", "model-2-of-2.safetensors": "b"}
    for file, name in shards.items():
        save_file({name: TENSORS[name]}, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {name: file for file, name in shards.items()}}))
    assert files.read(str(tmp_path))[1].keys() == TENSORS.keys()
    index.write_text(json.dumps({"weight_map": {"a.weight": "model-1-of-2.safetensors", "c": "model-2-of-2.safetensors"}}))
    with pytest.raises(UserError, match=r"names c \(and 0 more\), which no shard holds"):
        files.read(str(tmp_path))
    index.write_text(json.dumps({"weight_map": {"a.weight": "../model.safetensors"}}))
    with pytest.raises(UserError, match=r"needs a weight_map"):
        files.read(str(tmp_path))
    index.write_text(json.dumps({"weight_map": {"a.weight": "model-3-of-2.safetensors"}}))
    with pytest.raises(UserError, match=r"names model-3-of-2.safetensors; .* does not exist. Download that shard"):
        files.read(str(tmp_path))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "checkpoint.pth", "weights.pt"])
def test_a_pickle_is_refused_with_a_line_that_converts_it(tmp_path, name):
    torch.save({"model": {"a": torch.arange(6.0).reshape(2, 3).T}}, tmp_path / name)
    (tmp_path / "config.json").write_text('{"model_type": "toy"}')
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(UserError, match=r"is a pickle, which can run code; aeseg reads safetensors only") as error:
            files.read(str(path))
    exec(re.search(r'-c "(.*)"$', str(error.value)).group(1), {})
    np.testing.assert_array_equal(files.read(str(tmp_path))[1]["a"], np.arange(6.0).reshape(2, 3).T)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: b"",
        lambda raw: raw[:-4],
        lambda raw: struct.pack("<Q", 1 << 40) + raw[8:],
        lambda raw: raw.replace(b"[2,3]", b"[9,9]"),
        lambda raw: raw.replace(b'"F32"', b'"F8_E4M3"', 1),
    ],
    ids=["empty", "cut", "header that is too long", "sizes that lie", "an unknown number"],
)
def test_a_damaged_file_is_refused_with_one_sentence(directory, spoil):
    path = directory / "model.safetensors"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(UserError, match=r"model.safetensors cannot be read as safetensors \(.*\). Download the file again."):
        files.read(str(directory))


def test_missing_files_are_named(directory, tmp_path):
    with pytest.raises(UserError, match=r"Expected weights in .*nowhere.*; there is no such file or directory"):
        files.read(str(tmp_path / "nowhere"))
    (directory / "config.json").write_text("[]")
    with pytest.raises(UserError, match=r"must hold a JSON object, .*; it holds a list. Download it again"):
        files.read(str(directory))
    (directory / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config.json is not JSON \(Expecting.*\). Download it again"):
        files.read(str(directory))
    (directory / "config.json").unlink()
    with pytest.raises(UserError, match=r"Expected .*config.json; it does not exist. It names the model"):
        files.read(str(directory))
    (directory / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"Expected model.safetensors in .*; it has no safetensors file"):
        files.read(str(directory))


def test_foreign_weights_are_distinguished_from_a_workdir(directory, tmp_path):
    assert files.is_foreign(str(directory))
    assert files.is_foreign(str(directory / "model.safetensors"))
    (directory / "model.safetensors").unlink()
    assert files.is_foreign(str(directory)), "config.json alone decides this; reading it then names what is missing"
    (directory / "config.json").write_text('{"method": {}}')
    assert not files.is_foreign(str(directory))
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    assert not files.is_foreign(str(tmp_path / "run"))
    assert not files.is_foreign(str(tmp_path / "nowhere"))
