"""experiments/console/helps.py: --help shows the meaning, value and default of each field."""

import dataclasses

import pytest

from aeseg.runs.data import Data
from aeseg.runs.run import Run
from experiments import segment
from experiments.console import cli, helps


def test_help_shows_a_line_for_each_flag_and_field(capsys):
    with pytest.raises(SystemExit) as caught:
        segment.run(["segment", "--help"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert "  --init=''" in printed
    assert "  --config.steps = 1600" in printed
    assert "  --config.data.fraction = 0.03125              (default 1.0; the fraction of the training records" in printed
    assert "  --config.method.encoder.widths = (16,32,64)   (default (64,128,256); channels of each level)" in printed
    assert "!!python" not in printed


def test_help_shows_the_value_of_a_changed_field():
    config = cli.parse(["segment", "--config.transfer=scratch"], "", config="segment").config
    assert "--config.transfer = scratch" in helps.fields(config)


@pytest.mark.parametrize("kind", [Run, Data])
def test_every_field_of_a_run_is_documented(kind):
    fields = {field.name for field in dataclasses.fields(kind)}
    assert fields - helps.documented(kind).keys() == set()
