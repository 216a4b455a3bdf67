"""The examples of README.md and aeseg/README.md work as printed: parts pass the contract, and the ten lines of Python run."""

import importlib
import re
import sys

import numpy as np
import pytest
from PIL import Image

from aeseg import spec
from experiments import pretrain
from experiments.console import cli
from tests import contract, contract_test
from tests.imports_test import ROOT

README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "aeseg/README.md").read_text()
EXAMPLES = {
    ("method", "colourisation"): "class Colourisation",
    ("head", "two_layers"): "class TwoLayersHead",
    ("source", "stripes"): "class Stripes",
}
GOLDEN = ("test_parameters_equal_the_golden_file", "test_a_train_step_equals_the_golden_file")


@pytest.fixture(params=EXAMPLES, ids=lambda key: key[1])
def example(request, tmp_path, monkeypatch):
    """Save an example where its package finds it; return (kind, name)."""
    kind, name = request.param
    [code] = [code for code in re.findall(r"```python\n(.*?)```", ARCHITECTURE, re.DOTALL) if EXAMPLES[kind, name] in code]
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
    assert cli.guarded(pretrain.run, ["program", f"--config=scenes:{name},tiny", *steps, *small]) == 0
    assert (tmp_path / "run" / "pictures" / "step_000002.png").exists()


@pytest.mark.parametrize("page", ["README.md", "aeseg/README.md", "experiments/README.md", "experiments/results/README.md"])
def test_every_config_and_file_that_a_page_names_exists(page):
    text = (ROOT / page).read_text()
    for path in re.findall(r"\]\(([\w/.]+)(?:#[\w-]*)?\)", text):
        assert (ROOT / page).parent.joinpath(path).exists(), path
    for described in re.findall(r"--config=([\w:]+)", text):
        if described.partition(":")[2] not in {name for _, name in EXAMPLES}:
            assert spec.to_json(cli.load_config(described))
    for command in re.findall(r"\./launch\.sh (\w+)", text):
        assert command == "test" or (ROOT / "experiments" / f"{command}.py").exists(), command


def test_the_ten_lines_of_python_train_and_predict(tmp_path, monkeypatch):
    [code] = [code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "import aeseg" in code]
    random = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (tmp_path / "my_images" / folder).mkdir(parents=True)
    for name in ("ab", "cd", "ef", "gh", "ij", "kl", "mn", "op"):
        label = np.zeros((70, 66), np.uint8)
        label[20:50, 10:40] = 255
        Image.fromarray(label).save(tmp_path / "my_images/labels" / f"{name}.png")
        noise = random.integers(0, 50, (70, 66, 3), np.uint8)
        Image.fromarray(noise + (label[..., None] > 0).astype(np.uint8) * 200).save(tmp_path / "my_images/images" / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code.replace("300", "4"), names)
    assert names["mask"].shape == (70, 66)
    assert set(np.unique(names["mask"]).tolist()) <= {0, 1}
    assert (tmp_path / "runs/leaves/config.json").exists()
