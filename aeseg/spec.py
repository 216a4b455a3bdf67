"""A config is the constructor call: `spec(Class, **kwargs)` describes it, `build(node)` makes it.

A description holds every argument by name, defaults included, as JSON values (or references of ml_collections).  So a run's
config.json stays complete if the code's defaults change later.
"""

import dataclasses
import difflib
import functools
import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict, FieldReference

from aeseg import checks, renames
from aeseg.types import UserError

_LINEN_FIELDS = ("parent", "name")

PARTS = (
    "aeseg.data.colours",
    "aeseg.data.planes",
    "aeseg.data.sources",
    "aeseg.data.transforms",
    "aeseg.likelihoods",
    "aeseg.masking",
    "aeseg.selective",
    "aeseg.methods",
    "aeseg.models",
    "aeseg.noises",
    "aeseg.runs.data",
    "aeseg.runs.run",
    "aeseg.training.optimiser",
)
"""Modules and packages whose public classes a config may build.  None of their constructors writes, deletes or executes anything."""

FUNCTIONS = ("aeseg.training.optimiser",)
"""Modules whose public functions a config may call, too."""


def spec(factory: Callable[..., Any], **kwargs: Any) -> ConfigDict:
    """Describe a call without making it.

    Raises TypeError, before anything is read or built, for an argument the factory does not have, for one it needs and
    did not get, and for a value that is not plain (JSON cannot hold it, or the command line could not override it).
    """
    known = [name for name in _parameters(factory) if name not in _LINEN_FIELDS]
    if "target" in known:
        raise TypeError(f"{factory.__qualname__} has an argument 'target', where a spec stores the factory's name. Rename it.")
    for name in kwargs:
        if name not in known:
            raise TypeError(f"{factory.__qualname__} has no argument {name!r}{suggestion(name, known)}; it has {known}.")
    fields: dict[str, Any] = {"target": f"{factory.__module__}:{factory.__qualname__}"}
    fields |= defaults(factory) | kwargs
    for name in known:
        if name not in fields:
            raise TypeError(f"{factory.__qualname__} needs {name!r}; give it in the config.")
        _check_plain(fields[name], f"{factory.__qualname__}.{name}")
    return ConfigDict({name: fields[name] for name in ("target", *known)})


def defaults(factory: Callable[..., Any]) -> dict[str, Any]:
    """Return the arguments that a factory has a default for, by name."""
    made = {}
    if dataclasses.is_dataclass(factory):  # a signature shows a marker in place of what a default_factory makes
        made = {
            each.name: each.default_factory() for each in dataclasses.fields(factory) if each.default_factory is not dataclasses.MISSING
        }
    parameters = {
        name: parameter.default for name, parameter in _parameters(factory).items() if parameter.default is not inspect.Parameter.empty
    }
    return {name: value for name, value in {**parameters, **made}.items() if name not in _LINEN_FIELDS}


@functools.cache
def _parameters(factory: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(factory).parameters


def describe(thing: Any) -> Any:
    """Return the config that builds a thing: the inverse of `build`.

    Modules and dataclasses are described by their fields, an optimiser by the call that made it (`call`).
    Raises TypeError for what no config can hold.
    """
    if isinstance(thing, bool | int | float | str):
        return thing
    if isinstance(thing, FieldReference):
        return describe(thing.get())
    if isinstance(thing, ConfigDict):
        return thing.copy_and_resolve_references()
    if isinstance(thing, Mapping):
        return ConfigDict({name: describe(value) for name, value in thing.items()})
    if hasattr(thing, "call"):
        return describe(thing.call)
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        fields = [each.name for each in dataclasses.fields(thing) if each.init and each.name not in _LINEN_FIELDS]
        return spec(type(thing), **{name: describe(getattr(thing, name)) for name in fields})
    if isinstance(thing, list | tuple):
        return tuple(describe(item) for item in thing)
    raise TypeError(f"A config holds numbers, strings, sequences and parts of aeseg; got {thing!r}.")


def build(node: Any) -> Any:
    """Make what a description describes, innermost first; sequences become tuples, so modules stay hashable.

    A class keeps the arguments that it names in DESCRIPTIONS as they are described, to build them when they are needed.
    Raises UserError for a target that is not a part of aeseg (see `PARTS`): a run's config.json is data and must not run other code.
    """
    return _built(renames.updated(plain(node)))


def build_run(config: Mapping[str, Any] | ConfigDict) -> Any:
    """Make the `Run` that a config describes, in the words of today or of an earlier version (aeseg/renames.py)."""
    return _built(renames.updated_run(plain(config)))


def meaning(config: Any) -> Any:
    """Return a plain config with every absent argument filled in: equal meanings compute the same.

    Names are today's; an argument that did not exist when the config was saved has the value that the code meant then.
    """
    return _filled(renames.updated_run(plain(config)) if isinstance(config, Mapping | ConfigDict) else config)


def _filled(node: Any) -> Any:
    if isinstance(node, list):
        return [_filled(item) for item in node]
    if not isinstance(node, dict):
        return node
    fields = {name: _filled(value) for name, value in node.items()}
    if "target" in node:
        fields = {**plain(defaults(resolve(node["target"]))), **fields}
    return fields


def _built(node: Any) -> Any:
    if isinstance(node, list):
        return tuple(_built(item) for item in node)
    if not isinstance(node, dict):
        return node
    if "target" not in node:
        return {name: _built(value) for name, value in node.items()}
    factory = resolve(node["target"])
    kept = getattr(factory, "DESCRIPTIONS", ())
    arguments = {name: value if name in kept else _built(value) for name, value in node.items() if name != "target"}
    known = [name for name in _parameters(factory) if name not in _LINEN_FIELDS]
    for name in arguments:
        if name not in known:
            raise UserError(
                f"{node['target']} has no argument {name!r}{suggestion(name, known)}; it has {known}. "
                "Rename it in the config, or use the version of aeseg that wrote it."
            )
    checks.check_arguments(factory, arguments)
    return factory(**arguments)


def recipe(package: str, name: str, size: str = "small") -> ConfigDict:
    """Return the recipe of the file `name` in a package such as `aeseg.methods`; the error for an unknown name lists the files."""
    return module(package, name).recipe(size)


def choose(size: str, **sizes: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of one size of a recipe; the error for an unknown size lists the sizes."""
    if size not in sizes:
        raise UserError(f"This recipe has no size {size!r}{suggestion(size, list(sizes))}; it has {', '.join(sizes)}.")
    return sizes[size]


def module(package: str, name: str) -> Any:
    """Import the module of the file `name` in a package; the error for an unknown name lists the files."""
    known = names(package)
    if name not in known:
        raise UserError(f"{package.replace('.', '/')} has no {name!r}{suggestion(name, known)}; it has {', '.join(known)}.")
    return importlib.import_module(f"{package}.{name}")


def names(package: str) -> list[str]:
    """Return the names of a package's files, sorted."""
    return sorted(info.name for info in pkgutil.iter_modules(importlib.import_module(package).__path__))


def follow(node: ConfigDict, name: str, reference: FieldReference) -> None:
    """Tie every field `name` in a config, at any depth, to a reference until it is set separately: one `dtype` for all parts."""
    for field, value in node.items():
        parts = value if isinstance(value, list | tuple) else (value,)
        for part in parts:
            if isinstance(part, ConfigDict):
                follow(part, name, reference)
        if field == name:
            node[field] = reference.identity()


def to_json(config: ConfigDict) -> str:
    """Return the config as stable JSON text, the contents of a run's config.json."""
    return json.dumps(plain(config), indent=2, sort_keys=True) + "\n"


def from_json(text: str) -> ConfigDict:
    """Return the config that `to_json` wrote, with current names and lists as tuples.  ValueError if the text is not an object."""
    try:
        node = json.loads(text)
        if not isinstance(node, dict):
            raise ValueError(f"expected an object; it holds a {type(node).__name__}")
        return ConfigDict(_tuples(renames.updated_run(node)))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def plain(node: Any) -> Any:
    """Return a config as dicts, lists and numbers, with references resolved."""
    if isinstance(node, FieldReference):
        node = node.get()
    if isinstance(node, Mapping | ConfigDict):
        return {name: plain(value) for name, value in node.items()}
    if isinstance(node, list | tuple):
        return [plain(item) for item in node]
    return node


def differences(old: Any, new: Any, where: str = "config") -> list[str]:
    """Return one line for each value in which two configs differ: `config.seed: 0 -> 1`."""
    old, new = plain(old), plain(new)
    if isinstance(old, dict) and isinstance(new, dict):
        lines = []
        for name in sorted({*old, *new}):
            if name not in new:
                lines.append(f"{where}.{name}: {json.dumps(old[name])} -> (absent)")
            elif name not in old:
                lines.append(f"{where}.{name}: (absent) -> {json.dumps(new[name])}")
            else:
                lines += differences(old[name], new[name], f"{where}.{name}")
        return lines
    return [] if old == new else [f"{where}: {json.dumps(old)} -> {json.dumps(new)}"]


def resolve(target: Any) -> Callable[..., Any]:
    """Return the public class, or optimiser, that a target names.

    A target is data that somebody else may have written.  It is looked up among the names that its module defines itself:
    names that the module imports, attributes of a class, private names and functions with another purpose are refused.
    """
    refusal = UserError(
        f"A config may build only the parts of aeseg: public classes of {', '.join(PARTS)}, and the functions of "
        f"{', '.join(FUNCTIONS)}; this one names {target!r}. Wrap it in a class of aeseg."
    )
    if not isinstance(target, str):
        raise refusal
    module_name, _, name = target.partition(":")
    words = module_name.split(".")
    if not _below(module_name, PARTS) or any(not word.isidentifier() or word.startswith("_") for word in (*words, name)):
        raise refusal
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(f"The config names {target!r}, which aeseg does not have ({error}). Was it renamed since?") from error
    if name not in vars(module):
        raise UserError(f"The config names {target!r}, which aeseg does not have. Was it renamed since?")
    factory = vars(module)[name]
    allowed = inspect.isclass(factory) or (inspect.isfunction(factory) and _below(module_name, FUNCTIONS))
    if not allowed or (factory.__module__, factory.__qualname__) != (module_name, name):
        raise refusal
    return factory


def _below(module: str, names: Sequence[str]) -> bool:
    return any(module == name or module.startswith(name + ".") for name in names)


def _check_plain(value: Any, where: str) -> None:
    if isinstance(value, FieldReference):
        value = value.get()
    if isinstance(value, list | tuple):
        for item in value:
            _check_plain(item, where)
    elif isinstance(value, Mapping | ConfigDict):
        for item in value.values():
            _check_plain(item, where)
    elif value is None:
        raise TypeError(f"{where} is None, which the command line cannot override; give it a default of its own type.")
    elif not isinstance(value, bool | int | float | str):
        raise TypeError(f"{where} is {value!r}; a config holds numbers, strings, sequences and specs (a dtype is a string).")


def _tuples(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: _tuples(value) for name, value in node.items()}
    if isinstance(node, list):
        return tuple(_tuples(item) for item in node)
    return node


def suggestion(name: str, known: list[str]) -> str:
    """` (did you mean ...?)` for a misspelt name, or nothing."""
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
