"""experiments/convert.py: from Hugging Face to a workdir that every entry point reads, and back."""

import json

import numpy as np
import pytest
import torch

from aeseg import tree
from aeseg.importers import files
from aeseg.training.checkpoints import load_variables
from experiments import convert, evaluate, predict, segment
from experiments.console import cli
from tests.importers.cases import find_toys, same, toy_directory

SCENES = [f"--config.data.{split}.{field}=16" for split in ("train", "validation") for field in ("height", "width", "records")]
SEGMENT = ["--config=segment:linear", "--config.window=(16,16)", "--config.data.fraction=1.0", "--config.batch_size=8", "--config.steps=2"]


@pytest.fixture(autouse=True)
def _toys(monkeypatch):
    find_toys(monkeypatch)


def run(module, *flags):
    return cli.guarded(module.run, ["program", *map(str, flags)])


@pytest.mark.parametrize("kind", ["encoder", "autoencoder", "segmenter"])
def test_a_round_trip_gives_the_same_tensors(kind, tmp_path, capsys):
    path, tensors = toy_directory(tmp_path / "theirs", kind)
    workdir = tmp_path / "workdir"
    assert run(convert, "--from=hf", f"--input={path}", f"--output={workdir}") == 0
    assert run(convert, "--to=hf", f"--input={workdir}", f"--output={tmp_path / 'back'}") == 0
    assert same(files.read(str(tmp_path / "back"))[1], tensors)
    assert run(convert, "--from=hf", f"--input={tmp_path / 'back'}", f"--output={tmp_path / 'again'}") == 0
    assert same(*(load_variables(str(place / "checkpoints"))[1] for place in (workdir, tmp_path / "again")))
    assert "Left out" not in capsys.readouterr().out


def test_a_segmenter_is_evaluated_and_predicts(tmp_path):
    path, _ = toy_directory(tmp_path / "theirs", "segmenter")
    workdir = tmp_path / "workdir"
    assert run(convert, "--from=hf", f"--input={path}", f"--output={workdir}", "--data=segment:linear") == 0
    config = json.loads((workdir / "config.json").read_text())
    for field in ("height", "width", "records"):
        config["data"]["test"][field] = 16
    (workdir / "config.json").write_text(json.dumps(config))
    assert run(evaluate, f"--workdir={workdir}", "--batch=8") == 0
    [picture, *_] = (workdir / "pictures").iterdir()
    assert run(predict, f"--workdir={workdir}", f"--input={picture}", f"--output={tmp_path / 'predictions'}") == 0


def test_a_converted_encoder_starts_a_run_and_names_its_use(tmp_path, capsys):
    path, _ = toy_directory(tmp_path / "theirs", "encoder")
    workdir = tmp_path / "workdir"
    assert run(convert, "--from=hf", f"--input={path}", f"--output={workdir}") == 0
    flags = [*SEGMENT, *SCENES, "--config.method.head.stride=4", f"--init={workdir}", "--config.transfer=linear-probe"]
    assert run(segment, *flags, "--config.statistics=pretrained", f"--workdir={tmp_path / 'run'}") == 0
    ours, theirs = (tree.flatten(load_variables(str(place / "checkpoints"))[1]) for place in (tmp_path / "run", workdir))
    assert all(np.array_equal(ours[name], leaf) for name, leaf in theirs.items())
    capsys.readouterr()
    assert run(evaluate, f"--workdir={workdir}") == 2
    assert "holds an encoder alone, as `convert` left it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ((), "Expected --from=hf or --to=hf; got --from='' --to=''."),
        (("--from=hf", "--to=hf"), "Expected --from=hf or --to=hf; got --from='hf' --to='hf'."),
        (("--from=timm",), "got --from='timm'"),
        (("--from=hf", "--input=a"), "Expected --input and --output; got 'a' and ''."),
        (("--from=hf", "--input=nowhere", "--output=out"), "Expected weights in 'nowhere'; there is no such file"),
        (("--to=hf", "--input=nowhere", "--output=out"), "Expected a run in 'nowhere'"),
    ],
)
def test_a_wrong_call_is_refused_with_one_sentence(flags, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(convert, *flags) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_and_a_pickle_is_refused(tmp_path, capsys):
    path, _ = toy_directory(tmp_path / "theirs", "encoder")
    workdir = tmp_path / "workdir"
    assert run(convert, "--from=hf", f"--input={path}", f"--output={workdir}") == 0
    assert run(convert, "--from=hf", f"--input={path}", f"--output={workdir}") == 2
    assert run(convert, "--to=hf", f"--input={workdir}", f"--output={path}") == 2
    message = capsys.readouterr().err
    assert "workdir already has checkpoints. Set another --output" in message
    assert "model.safetensors exists already. Name another --output" in message
    torch.save({}, tmp_path / "model.pth")
    assert run(convert, "--from=hf", f"--input={tmp_path / 'model.pth'}", f"--output={tmp_path / 'out'}") == 2
    assert "is a pickle, which can run code" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
