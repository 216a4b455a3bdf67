"""experiments/machine/provenance.py: every number has the commit of its code."""

import json
import os
import subprocess
import sys

import pytest

from aeseg.models import onednn
from experiments.machine import provenance


@pytest.fixture
def repository(tmp_path, monkeypatch):
    (tmp_path / "aeseg").mkdir()
    (tmp_path / "experiments/results").mkdir(parents=True)
    (tmp_path / "experiments/machine").mkdir()
    (tmp_path / "aeseg/code.py").write_text("one")
    (tmp_path / "experiments/results/table.jsonl").write_text("{}\n")
    monkeypatch.setattr(provenance, "HERE", str(tmp_path / "experiments/machine"))
    for command in ("init -q", "add .", "-c user.name=a -c user.email=a@b commit -q -m first"):
        subprocess.run(["git", "-C", tmp_path, *command.split()], check=True)
    return tmp_path


def test_the_commit_is_marked_when_the_code_differs_from_it(repository):
    clean = provenance.commit()
    assert len(clean) >= 7
    assert not clean.endswith("+")
    (repository / "experiments/results/table.jsonl").write_text("{}\n{}\n")  # only results were added; the code is the same
    (repository / "experiments/results/table.png").write_text("drawn")
    assert provenance.commit() == clean
    (repository / "aeseg/code.py").write_text("two")
    assert provenance.commit() == clean + "+"
    (repository / "aeseg/code.py").write_text("one")
    assert provenance.commit() == clean
    (repository / "aeseg/found_by_its_name.py").write_text("new")
    assert provenance.commit() == clean + "+"


def test_without_a_repository_the_commit_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "HERE", str(tmp_path))
    assert provenance.commit() == "unknown"


@pytest.mark.spread
def test_device_and_versions():
    found = provenance.provenance(("jax", "numpy"))
    assert found["device"].startswith("8 x ")
    assert found["device"].endswith("cores")
    assert set(found["versions"]) == {"jax", "numpy"}


def test_a_row_of_a_table_names_onednn_which_its_commands_use():
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {"JAX_PLATFORMS": "cpu"}  # one device
    command = [sys.executable, "-m", "experiments.machine.provenance"]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert set(json.loads(printed)["versions"]) == {"jax", "flax", onednn.PACKAGE}
