"""Imports: only down the layers (aeseg/README.md), nothing heavy, and fast."""

import ast
import functools
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import aeseg
from tests.contract import PACKAGES

ROOT = Path(aeseg.__file__).parents[1]
LAYERS = (
    tuple(
        f"aeseg.{name}" for name in ("types", "files", "checks", "renames", "jsonlines", "spec", "tree", "images", "keys", "compile_cache")
    ),
    (
        "aeseg.objectives",
        "aeseg.metrics",
        "aeseg.boundaries",
        "aeseg.calibration",
        "aeseg.likelihoods",
        "aeseg.masking",
        "aeseg.selective",
        "aeseg.noises",
        "aeseg.positions",
        "aeseg.targets",
    ),
    ("aeseg.models", "aeseg.data"),
    ("aeseg.methods", "aeseg.importers"),
    ("aeseg.training", "aeseg.inference", "aeseg.compression"),
    ("aeseg.runs",),
    ("experiments",),
)
NEVER = ("tensorflow", "torch", "matplotlib", "clu", "pandas", "sklearn", "skimage", "scipy.stats", "IPython")
BUDGET = 2.5
"""Time limit of the main job's imports, in seconds on two quiet cores."""


@functools.cache
def files() -> dict[str, Path]:
    """Return {module: file} of aeseg and experiments."""
    found = {}
    for path in sorted([*ROOT.glob("aeseg/**/*.py"), *ROOT.glob("experiments/**/*.py")]):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def imported(module: str, path: Path) -> set[str]:
    """Return every module of aeseg and experiments that a file imports, anywhere in the file."""
    known, found = files(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:  # experiments is installed under another name, so its files use relative imports
                assert module.startswith("experiments"), f"{module}: write imports out in full"
                package = module.split(".")[: None if path.name == "__init__.py" else -1]
                base = ".".join([*package[: len(package) + 1 - node.level], *([base] if base else [])])
            else:
                assert not (module.startswith("experiments") and base.startswith("experiments")), f"{module}: import {base} relatively"
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                found.add(whole if whole in known else base)
    return {name for name in found if name.split(".")[0] in ("aeseg", "experiments")}


def layer(module: str) -> int:
    """Return the layer of a module; the package itself is below all layers."""
    for number, names in enumerate(LAYERS):
        if any(module == name or module.startswith(name + ".") for name in names):
            return number
    assert module == "aeseg", f"{module} is in no layer: add it here and to the layers in aeseg/README.md"
    return -1


def below(module: str, package: str) -> bool:
    """Return whether a module is in a package."""
    return module == package or module.startswith(package + ".")


def test_imports_go_only_down_the_layers():
    for module, path in files().items():
        for other in imported(module, path):
            assert layer(other) <= layer(module), f"{module} imports {other}, which is in a higher layer"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("aeseg.models", "aeseg.data"),
        ("aeseg.data", "aeseg.models"),
        ("aeseg.models", "aeseg.objectives"),
        ("aeseg.training", "aeseg.methods"),
        ("aeseg.training", "aeseg.models"),
        ("aeseg.inference", "aeseg.methods"),
        ("aeseg.inference", "aeseg.models"),
        ("aeseg.methods", "aeseg.data"),
        ("aeseg", "experiments"),
    ],
)
def test_independent_packages_do_not_import_each_other(one, other):
    meeting = [
        (module, name) for module, path in files().items() if below(module, one) for name in imported(module, path) if below(name, other)
    ]
    assert meeting == []


def test_parts_do_not_import_one_another():
    """Methods, encoders, decoders, heads and sources are independent, except that methods extend the segmenter.

    A recipe finds other parts by name.
    """
    for package in PACKAGES.values():
        for module, path in files().items():
            if below(module, package) and module != package:
                others = {name for name in imported(module, path) if below(name, package) and name != module}
                assert others <= {"aeseg.methods.segmenter"}, f"{module} imports its neighbour {others}"


def room(module: str) -> str:
    """Return the room of a module: a package or file directly below aeseg or experiments."""
    return ".".join(module.split(".")[:2])


def assert_no_cycle(edges: dict[str, set[str]]) -> None:
    """Fail with the names in a cycle of {name: names that it imports}."""
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, f"a cycle: {' -> '.join((*above[above.index(module) :], module))}"
        if module not in done:
            for other in sorted(edges.get(module, ())):
                visit(other, (*above, module))
            done.add(module)

    for module in edges:
        visit(module, ())


def test_no_cycle_of_imports():
    assert_no_cycle({module: imported(module, path) & files().keys() for module, path in files().items()})


def test_no_cycle_of_imports_between_rooms():
    """Imports in functions and for type checkers count."""
    edges: dict[str, set[str]] = {}
    for module, path in files().items():
        edges.setdefault(room(module), set()).update(room(name) for name in imported(module, path) if room(name) != room(module))
    assert {"experiments.papers", "experiments.study", "aeseg.runs", "aeseg.spec"} <= edges.keys()
    assert_no_cycle(edges)


def test_a_cycle_is_found_wherever_its_imports_stand(tmp_path):
    path = tmp_path / "lower.py"
    path.write_text(
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from ..papers import Row\n\n\n"
        "def late():\n    from ..study import training\n"
    )
    names = imported("experiments.recorded.lower", path)
    assert {room(name) for name in names} == {"experiments.papers", "experiments.study"}
    with pytest.raises(AssertionError, match=r"a cycle: experiments\.recorded -> experiments\.study -> experiments\.recorded"):
        assert_no_cycle({"experiments.recorded": {room(name) for name in names}, "experiments.study": {"experiments.recorded"}})


def test_importing_aeseg_and_the_main_job_imports_nothing_heavy():
    """One process imports everything; the test names a module that imports TensorFlow, torch or matplotlib."""
    modules = [info.name for info in pkgutil.walk_packages(aeseg.__path__, "aeseg.")]
    script = f"""
import importlib, sys
for module in {[*modules, "experiments.pretrain", "experiments.segment", "experiments.evaluate", "experiments.predict"]}:
    importlib.import_module(module)
    heavy = [name for name in {NEVER} if name in sys.modules]
    assert not heavy, f"{{module}} imports {{heavy}}"
"""
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_main_job_is_imported_in_time():
    """The first of three runs within the limit, in processor seconds; on a busy machine the limit is twice the time of JAX alone."""

    def seconds(modules: str) -> float:
        script = f"import time; import {modules}; print(time.process_time())"
        return float(subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout)

    taken: list[float] = []
    while len(taken) < 3 and min(taken, default=BUDGET) >= BUDGET:
        taken.append(seconds("experiments.pretrain, experiments.segment"))
    job = min(taken)
    print(f"\nimports of the main job: {job:.2f} s of processor time")
    if job >= BUDGET:
        alone = min(seconds("jax") for _ in range(3))
        assert job < 2 * alone, f"{job:.2f} s, JAX alone {alone:.2f} s: see python -X importtime -c 'import experiments.pretrain'"
