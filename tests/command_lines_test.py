"""Every command line in docstrings (which --help shows), pages and launch.sh is accepted by its command."""

import ast
import importlib
import re
import shlex

import pytest

from aeseg import spec
from aeseg.runs.run import is_segmenter
from experiments import configs
from experiments.console import cli
from tests.imports_test import ROOT
from tests.readme_test import EXAMPLES

START = re.compile(r"(?:python -m experiments\.|\./launch\.sh |[`$] ?aeseg |^ *aeseg (?=\w+(?: -|  |$)))(\w[\w.]*\b)", re.MULTILINE)
END = re.compile(r" {2,}| \[| && |[`\n]|$")
"""End of a command line: docstrings explain it after two spaces, prose continues after its backtick."""
OF_THE_READER = {name for _, name in EXAMPLES}
"""Configs of the parts that a reader of README.md writes."""


def texts():
    """Yield (file, text) of everything that shows command lines: pages, launch.sh, and docstrings of Python files."""
    for path in sorted((*ROOT.glob("*.md"), *ROOT.glob("*/**/*.md"), ROOT / "launch.sh")):
        if not {part for part in path.relative_to(ROOT).parts if part.startswith(".")}:
            yield path, path.read_text()
    for path in sorted((*ROOT.glob("aeseg/**/*.py"), *ROOT.glob("experiments/**/*.py"))):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if START.search(text) else ():
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield path, ast.get_docstring(node) or ""


def command_lines(text):
    """Yield (command, its words) of each command line in a text; a backslash at the end of a line joins the next line."""
    text = re.sub(r"<[^<>\n]*>", "any", re.sub(r"\\\n\s*", "", text))
    for start in START.finditer(text):
        rest = text[start.end() :]
        line = rest[: END.search(rest).start()]
        yield start.group(1), tuple(shlex.split(line.removesuffix('"') if line.count('"') % 2 else line, comments=True))


def next_lines():
    """Yield (config, command line) of the configs whose next command is not `segment`."""
    for name in spec.names(configs.__name__):
        module = spec.module(configs.__name__, name)
        for argument in getattr(module, "ARGUMENTS", ("",)):
            config = module.get_config(argument) if argument else module.get_config()
            if " " in config.next:
                yield f"{name}:{argument}", f"./launch.sh {config.next} --init=runs/{name}"


@pytest.mark.parametrize("name", spec.names(configs.__name__))
def test_the_next_command_of_every_config_names_a_config_that_loads(name):
    module = spec.module(configs.__name__, name)
    for argument in getattr(module, "ARGUMENTS", ("",)):
        config = module.get_config(argument) if argument else module.get_config()
        if config.next and " " not in config.next:
            assert is_segmenter(cli.load_config(config.next)) != is_segmenter(config)


def shown():
    """Yield a parameter for each different command line."""
    known = {}
    for path, text in texts():
        for line in command_lines(text):
            known.setdefault(line, path.relative_to(ROOT))
    for (command, words), path in known.items():
        if command != "test" and not set(re.findall(r":(\w+)", " ".join(words))) & OF_THE_READER:
            yield pytest.param(command, words, id=f"{path}-{shlex.join((command, *words))}")


class ReadError(Exception):
    """Raised when the command would begin its work."""


@pytest.fixture
def stops(monkeypatch):
    """Stop every command as soon as it has read its command line."""
    parse = cli.parse

    def stop(*arguments, **named):
        parse(*arguments, **named)
        raise ReadError

    monkeypatch.setattr(cli, "parse", stop)
    monkeypatch.setattr(cli.description, "read", lambda path: path)  # the reader's files do not exist
    monkeypatch.setattr(cli.own_data, "use_data", lambda config, data: None)


@pytest.mark.parametrize(("command", "words"), list(shown()))
def test_every_shown_command_line_is_accepted(stops, command, words):
    module = importlib.import_module(f"experiments.{command}")
    if not hasattr(module, "run"):  # prints and reads nothing
        assert words == ()
        return
    with pytest.raises(ReadError):
        module.run([command, *words])


def test_the_next_command_of_a_config_is_accepted(stops):
    lines = dict(next_lines())
    assert lines.keys() >= {"restoration:deblur", "compression:camvid"}
    for line in lines.values():
        ((command, words),) = command_lines(line)
        with pytest.raises(ReadError):
            importlib.import_module(f"experiments.{command}").run([command, *words])


def test_command_lines_are_found_in_pages_and_docstrings():
    text = """Train.

    python -m experiments.segment --init=a --config.freeze=scratch   the control
    python -m experiments.segment --init=a \\
        --config="b:c d" [flags]
    Call `./launch.sh tables --readme` or `aeseg evaluate --workdir=a`, then `./launch.sh test`; aeseg reads files.
    """
    assert list(command_lines(text)) == [
        ("segment", ("--init=a", "--config.freeze=scratch")),
        ("segment", ("--init=a", "--config=b:c d")),
        ("tables", ("--readme",)),
        ("evaluate", ("--workdir=a",)),
        ("test", ()),
    ]
    assert {path.suffix for path, text in texts() if any(command_lines(text))} == {".md", ".py", ".sh"}
