"""Everything is covered: modules are imported, configs build and trace, every file has a test, old configs still build."""

import ast
import functools
import importlib
import json
import re

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from ml_collections import ConfigDict

from aeseg import spec, tree
from aeseg.runs.data import SPLITS
from aeseg.runs.example import config_example
from aeseg.runs.run import Run
from experiments import papers, tables
from experiments.console import cli
from experiments.recorded import measurements
from experiments.recorded.descriptions import assignments
from experiments.study import training
from tests.contract import GOLDEN, PACKAGES, assert_golden
from tests.imports_test import ROOT, files, imported

CONFIGS = sorted(path.stem for path in (ROOT / "experiments/configs").glob("*.py") if path.stem != "__init__")
MODULES = {name: importlib.import_module(f"experiments.configs.{name}") for name in CONFIGS}
ARGUMENTS = [f"{name}:{argument}" for name, module in MODULES.items() for argument in module.ARGUMENTS]


def config_of(described: str) -> ConfigDict:
    """Return the config of `file:argument`."""
    return cli.load_config(described)


def parameter_count(config: ConfigDict) -> int:
    """Build the method, trace its shapes on its window, and return its number of parameters."""
    row = {name: (array.shape, str(array.dtype)) for name, array in config_example(config).items()}
    return _parameter_count(spec.build(config.method), tuple(row.items()))


@functools.cache
def _parameter_count(method: nn.Module, shapes: tuple[tuple[str, tuple[tuple[int, ...], str]], ...]) -> int:
    row = {name: jnp.zeros(shape, jnp.float32 if name == "image" else dtype) for name, (shape, dtype) in shapes}
    row |= {"valid": jnp.ones((1,), bool), "index": jnp.zeros((1,), jnp.int32)}
    return tree.count(jax.eval_shape(lambda: method.init(jax.random.key(0), row, train=False))["params"])


@pytest.mark.parametrize("module", sorted(files()))
def test_every_module_can_be_imported_and_has_a_docstring(module):
    found = importlib.import_module(module)
    assert found.__doc__, f"{module} needs a docstring"


@pytest.mark.parametrize("described", ARGUMENTS)
def test_a_config_builds_and_traces(described):
    config = config_of(described)
    run = spec.build(config)
    assert isinstance(run, Run)
    assert parameter_count(config) > 0
    for split in SPLITS:
        assert run.data.described(split)["target"].startswith("aeseg.data.sources.")
    assert spec.differences(config, spec.describe(run)) == [], "a built run describes itself as its config does"
    assert spec.differences(config, spec.from_json(spec.to_json(config))) == []
    json.loads(spec.to_json(config), parse_constant=pytest.fail)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_file_has_its_command_and_cost_in_the_docstring(name):
    module = MODULES[name]
    for word in ("Command", "Cost", "Expected"):
        assert word in module.__doc__, f"experiments/configs/{name}.py: the docstring needs Command, Cost, Expected"
    assert module.get_config.__doc__
    assert module.get_config() is not module.get_config()


def test_a_config_whose_rows_are_recorded_says_what_they_cost_and_give():
    recorded = set()
    for name in spec.names(papers.__name__):
        paper = spec.module(papers.__name__, name)
        configs = {row.name: row.config.partition(":")[0] for row in paper.ROWS}
        measured = {line["row"] for line in measurements.lines(name)} & configs.keys()
        recorded |= {cli.ALIASES.get(configs[row], configs[row]).partition(":")[0] for row in measured}
    assert len(recorded) > 5
    silent = [name for name in sorted(recorded) if re.search("not yet\\s+measured", MODULES[name].__doc__)]
    assert silent == [], "write the cost and the expected value of their rows into these files of experiments/configs"


@pytest.mark.parametrize("described", ARGUMENTS)
def test_every_config_has_a_golden_file(described):
    """Later versions must build the configs of today's runs: tests/golden/configs gets new configs and loses none."""
    path = GOLDEN / "configs" / f"{described.replace(':', '-')}.json"
    if not path.exists():
        text = spec.to_json(config_of(described))
        assert_golden(f"configs/{path.name}", text, "never compared: a config may change, an old one must build")


@pytest.mark.parametrize("path", sorted((GOLDEN / "configs").glob("*.json")), ids=lambda path: path.stem)
def test_a_saved_config_still_builds(path):
    config = spec.from_json(path.read_text())
    assert parameter_count(config) > 0, "a class or field of saved configs was moved or renamed, which breaks old runs"
    assert isinstance(spec.build_run(config), Run)


@pytest.mark.parametrize("table", spec.names("experiments.papers"))
def test_the_rows_of_a_table_are_valid_runs(table):
    paper = spec.module("experiments.papers", table)
    every = paper.ROWS
    rows = [row.name for row in every]
    assert len(set(rows)) == len(rows)
    assert len({training.path_prefix("runs", table, row, 0).lower() for row in rows}) == len(rows), "two rows would be one run"
    drawn = {**getattr(paper, "PICTURE", {}), **getattr(paper, "RECONSTRUCTIONS", {})}
    assert set(drawn.values()) <= set(rows)
    assert drawn or paper.SPLIT == "validation", "one picture of each table but a tuning"
    for index, row in enumerate(every):
        assert hasattr(importlib.import_module(f"experiments.{row.command}"), "run")
        above = {other.name for other in every[:index] if other.scale == row.scale}
        assert row.scale in papers.SCALES
        assert {row.init, row.compare} - {""} <= above, "a row starts from, and is compared with, earlier rows of its scale"
        assert row.paper.keys() <= set(paper.METRICS)
        assert bool(row.paper) == bool(row.tolerance and row.citation), "a paper's number has a tolerance and a citation"
        words = assignments(row.overrides)
        set_to = cli.parse(["tables", f"--config={row.config}", *words], "", config=row.config).overrides  # refuses another type
        assert set_to == row.overrides
    measured = measurements.lines(table)
    assert {line["row"] for line in measured} <= set(rows), "results of a row that is gone"


def test_the_readme_lists_every_part_there_is():
    text = (ROOT / "README.md").read_text()
    assert all(mark in text for mark in tables.PART_MARKS)
    assert tables._with_parts(text) == text, "run python -m experiments.tables --readme"


def test_the_results_page_shows_all_recorded_results():
    text = (ROOT / "experiments/results/README.md").read_text()
    assert all(mark in text for mark in tables.MARKS)
    if any(measurements.lines(table) for table in spec.names("experiments.papers")):
        assert tables._with_results(text) == text, "run python -m experiments.tables --readme"


def test_every_file_is_imported_by_some_test():
    """The contract covers parts found by name, tests of `families` cover importers, and other files need a test that imports them."""
    named = set()
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                named |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    by_name = ("experiments.configs.", "experiments.papers.", "aeseg.importers.", *(f"{package}." for package in PACKAGES.values()))
    known = files()
    covered = {name for name, path in known.items() if path.name == "__init__.py" or name.startswith(by_name) or name in named}
    for name in list(covered):
        covered |= imported(name, known[name])  # files that a tested file imports are tested with it
    left = sorted(known.keys() - covered)
    assert left == [], f"no test imports {left}; write a test, or remove the file"


def test_tests_mirror_the_code():
    """tests/data/loader_test.py tests aeseg/data/loader.py, papers_test.py a folder papers; other tests cover everything."""
    whole = {
        "bad_input",
        "command_lines",
        "contract",
        "doctests",
        "evaluation_of_the_record",
        "everything",
        "imports",
        "lanes",
        "registered_papers",
        "launch",
        "main",
        "own_images",
        "precision",
        "readme",
        "reference_example",
        "resume",
        "slurm",
    }
    for path in sorted((ROOT / "tests").rglob("*_test.py")):
        relative = path.relative_to(ROOT / "tests").with_name(path.name.replace("_test.py", ".py"))
        of = [ROOT / "aeseg" / relative, ROOT / relative]
        assert relative.stem in whole or any(place.exists() or place.with_suffix("").is_dir() for place in of), (
            f"{path} mirrors no file of aeseg/ or experiments/"
        )
