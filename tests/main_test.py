"""aeseg/__main__.py: the commands by name."""

import sys

import pytest

from aeseg import __main__ as main


def ended(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["aeseg", *words])
    with pytest.raises(SystemExit) as caught:
        main.main()
    return caught.value.code


def test_without_a_command_all_are_listed_each_with_a_line(monkeypatch, capsys):
    assert ended(monkeypatch) == 0
    printed = capsys.readouterr().out
    assert "pretrain  Pretrain an autoencoder on unlabelled images." in printed
    assert "inspect " in printed


def test_a_command_that_is_none_is_named(monkeypatch, capsys):
    assert ended(monkeypatch, "pretrian") == 2
    assert "There is no command 'pretrian'" in capsys.readouterr().err


def test_a_command_reads_its_flags(monkeypatch, capsys):
    assert ended(monkeypatch, "tables", "scenes", "--format=html") == 2
    assert "The formats are markdown, latex, csv" in capsys.readouterr().err
