"""The README's examples work as they stand there: each is saved as the file it names and goes through the contract."""

import importlib
import re
import sys

import pytest

from aeseg import spec
from experiments import pretrain
from experiments.console import cli
from tests import contract, contract_test
from tests.imports_test import ROOT

README = (ROOT / "README.md").read_text()
EXAMPLES = {
    ("method", "colourisation"): "class Colourisation",
    ("head", "two_layers"): "class TwoLayersHead",
    ("source", "stripes"): "class Stripes",
}
GOLDEN = ("test_parameters_are_those_of_the_golden_file", "test_a_train_step_is_that_of_the_golden_file")


@pytest.fixture(params=EXAMPLES, ids=lambda key: key[1])
def example(request, tmp_path, monkeypatch):
    """(kind, name) of an example, saved where its package finds it."""
    kind, name = request.param
    [code] = [code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if EXAMPLES[kind, name] in code]
    (tmp_path / f"{name}.py").write_text(code)
    package = importlib.import_module(contract.PACKAGES[kind])
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    yield kind, name
    sys.modules.pop(f"{contract.PACKAGES[kind]}.{name}", None)


def test_an_example_of_the_readme_keeps_the_contract(example):
    kind, name = example
    ran = 0
    for title, check in vars(contract_test).items():
        marks = getattr(check, "pytestmark", [])
        over = [mark.args[1] for mark in marks if mark.name == "parametrize" and mark.args[0] == ("kind", "name")]
        kinds = {other for parts in over for other, _ in parts}
        if title.startswith("test_") and kind in kinds and title not in GOLDEN:
            check(kind, name)
            ran += 1
    assert ran >= 3


def test_the_readme_s_autoencoder_trains(example, tmp_path):
    kind, name = example
    if kind != "method":
        return
    small = [f"--config.data.{split}.{field}=16" for split in ("train", "validation") for field in ("height", "width", "records")]
    steps = ["--config.steps=2", "--config.batch_size=8", "--config.window=(16,16)", f"--workdir={tmp_path / 'run'}"]
    assert cli.guarded(pretrain.run, ["program", f"--config=pretrain:{name},tiny", *steps, *small]) == 0
    assert (tmp_path / "run" / "pictures" / "step_000002.png").exists()


def test_every_config_and_file_that_the_readme_names_exists():
    for path in re.findall(r"\]\(([\w/.]+)\)", README.split("<!-- lead: the picture")[0] + README.split("-->", 1)[1]):
        assert (ROOT / path).exists(), path
    for described in re.findall(r"--config=([\w:]+)", README):
        if described.partition(":")[2] not in {name for _, name in EXAMPLES}:
            assert spec.to_json(cli.load_config(described))
    for command in re.findall(r"\./launch\.sh (\w+)", README):
        assert command == "test" or (ROOT / "experiments" / f"{command}.py").exists(), command
