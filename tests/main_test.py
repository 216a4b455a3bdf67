"""aeseg/__main__.py: the commands by name."""

import sys
import tomllib

import pytest

from aeseg import __main__ as main
from tests.imports_test import ROOT


def ended(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["aeseg", *words])
    with pytest.raises(SystemExit) as caught:
        main.main()
    return caught.value.code


def test_without_a_command_all_commands_are_listed(monkeypatch, capsys):
    assert ended(monkeypatch) == 0
    printed = capsys.readouterr().out
    listed = dict(line.split(maxsplit=1) for line in printed.splitlines()[1:])
    assert listed["pretrain"] == "Pretrain an autoencoder on unlabelled images."
    assert listed["decompress"] == "Decompress the files that `compress` wrote."


def test_an_unknown_command_is_named(monkeypatch, capsys):
    assert ended(monkeypatch, "pretrian") == 2
    assert "There is no command 'pretrian'" in capsys.readouterr().err


def test_a_command_reads_its_flags(monkeypatch, capsys):
    assert ended(monkeypatch, "tables", "scenes", "--format=html") == 2
    assert "The formats are markdown, latex, csv" in capsys.readouterr().err


def test_every_package_is_installed():
    """pyproject.toml lists them by name, since experiments/ is installed as aeseg.experiments."""
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    folders = {path.parent.relative_to(ROOT) for top in ("aeseg", "experiments") for path in (ROOT / top).rglob("*.py")}
    names = {".".join(folder.parts) for folder in folders}
    assert listed == {f"aeseg.{name}" if name.startswith("experiments") else name for name in names}
