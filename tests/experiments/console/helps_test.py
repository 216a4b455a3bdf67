"""experiments/console/helps.py: --help shows the meaning, value and default of each field."""

import dataclasses
import re
import subprocess
import sys

import pytest

from aeseg import spec
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


def nodes(config):
    """Yield every part of a plain config that names its factory."""
    if isinstance(config, dict):
        if "target" in config:
            yield config
        for value in config.values():
            yield from nodes(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from nodes(value)


@pytest.mark.parametrize("name", spec.names("experiments.configs"))
def test_every_field_of_a_config_has_a_description_that_ends_with_its_sentence(name):
    module = spec.module("experiments.configs", name)
    for argument in getattr(module, "ARGUMENTS", ("",)):
        for node in nodes(spec.plain(module.get_config(argument) if argument else module.get_config())):
            factory = spec.resolve(node["target"])
            described = helps.documented(factory)
            parts = {field for field, value in node.items() if isinstance(value, dict)}
            assert node.keys() - parts - described.keys() == {"target"}, factory
            for field, text in described.items():
                assert text.count("(") == text.count(")"), (factory, field, text)
                assert not re.search(r"(\b(al|eq|the|with|and|of|its)|,)$", text), (factory, field, text)


def test_a_description_has_its_continuation_lines_up_to_the_full_stop():
    def factory(first, second, third=0, dtype="float32"):
        """Do something with `third` (Doe et al. 2020, eq. 3). More.

        first, second   a text (Doe et al. 2020)
                        over two lines. And a sentence more
        """

    assert helps.documented(factory) == {
        "first": "a text (Doe et al. 2020) over two lines",
        "second": "a text (Doe et al. 2020) over two lines",
        "third": "Do something with `third` (Doe et al. 2020, eq. 3)",
        "dtype": "type of activations",
    }


def test_help_into_a_closed_pipe_ends_quietly():
    command = f"{sys.executable} -m experiments.inspect --help | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr
