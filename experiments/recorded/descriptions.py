"""Descriptions of a table's rows, which match rows to recorded results.

Each results file has a file of the same name in results/configs: the configs of its lines, by id.  A line belongs to a row if both have
the same meaning, in any version's names (aeseg/renames.py): a refactoring keeps every result, and a changed row keeps none.
"""

import ast
import copy
import functools
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from aeseg import jsonlines, spec
from aeseg.runs.workdir import comparable

from ..console import cli
from .rows import Row

SCORED = ("best", "batch_statistics", "reference_boundaries", "lighting")
"""Fields of a row that are flags of `evaluate`; a description lists the fields that are set."""

CODE = 1
"""Version of the computed results.  Raise it with a change that affects results: all rows are then trained and measured again.

If a change affects only some rows, raise their `revision`."""

Description = dict[str, Any]
"""Keys: command, config, init (the description of the run that it starts from, or None), scored, revision, code."""


def described(rows: Sequence[Row], scored: bool = True) -> dict[str, Description]:
    """Return each row's description by name; without `scored`, only of its training."""
    by_name = {row.name: row for row in rows}

    @functools.cache
    def one(name: str, scored: bool) -> Description:
        row = by_name[name]
        return {
            "command": row.command,
            "config": _config(row.config, repr(row.overrides)),
            "init": one(row.init, False) if row.init else None,
            "scored": [flag for flag in SCORED if scored and getattr(row, flag)],
            "revision": row.revision,
            "code": CODE,
        }

    return {name: one(name, scored) for name in by_name}


def meaning(description: Description) -> str:
    """Return the meaning of a description as text: equal texts train and score alike."""
    init = meaning(description["init"]) if description["init"] else ""
    return json.dumps({**description, "config": _meant(json.dumps(description["config"], sort_keys=True)), "init": init}, sort_keys=True)


def identity(description: Description) -> str:
    """Return the id under which a new result's description is kept."""
    return hashlib.sha256(meaning(description).encode()).hexdigest()[:12]


def stored(path: str) -> dict[str, Description]:
    """Return the descriptions in a file of results/configs, by id."""
    lines = {line["id"]: line for line in jsonlines.read(path)}

    def whole(line: Mapping[str, Any]) -> Description:
        return {
            **{name: value for name, value in line.items() if name != "id"},
            "init": whole(lines[line["init"]]) if line["init"] else None,
        }

    return {name: whole(line) for name, line in lines.items()}


def store(path: str, description: Description) -> str:
    """Keep a description, and those of the runs it starts from, in a file of results/configs; return its id.

    If the file already holds the description, perhaps with an earlier version's names, its id there is returned.
    """
    wanted = meaning(description)
    for name, other in stored(path).items():
        if meaning(other) == wanted:
            return name
    init = store(path, description["init"]) if description["init"] else ""
    name = identity(description)
    jsonlines.write(path, {"id": name, **description, "init": init})
    return name


def configured(row: Row, extra: Mapping[str, object]) -> ConfigDict:
    """Return the row's config with its overrides and further fields, parsed like a command line."""
    return cli.parse(["tables", *assignments({**row.overrides, **extra})], "", config=row.config).config


def assignments(fields: Mapping[str, object]) -> list[str]:
    """Return the flags that set config fields."""
    return [f"--config.{name}={value}" for name, value in fields.items()]


def matching(path: str, rows: Sequence[Row]) -> dict[str, set[str]]:
    """Return, by the row's name, the ids of the configs with the row's meaning in a file of results/configs; cached, so never change it."""
    changed = os.stat(path) if os.path.exists(path) else None
    key = repr((path, changed and (changed.st_mtime_ns, changed.st_size), rows, CODE))
    if key not in _MATCHING:
        recorded = {name: meaning(each) for name, each in stored(path).items()}
        wanted = {name: meaning(each) for name, each in described(rows).items()}
        _MATCHING[key] = {row: {name for name, text in recorded.items() if text == wanted[row]} for row in wanted}
    return _MATCHING[key]


_MATCHING: dict[str, dict[str, set[str]]] = {}
"""Results of `matching` in this process."""


@functools.lru_cache(maxsize=4096)
def _config(name: str, overrides: str) -> dict[str, Any]:
    """Return the plain config of a name, with the fields of a literal dict set; cached, so never change it."""
    return spec.plain(cli.set_fields(copy.deepcopy(_loaded(name)), ast.literal_eval(overrides)))


@functools.cache
def _loaded(name: str) -> ConfigDict:
    """Return the config of a name; cached, so never change it."""
    return cli.load_config(name)


def forget() -> None:
    """Clear the caches of configs and meanings, for processes in which the code of configs changes."""
    for cached in (_config, _loaded, _meant):
        cached.cache_clear()
    _MATCHING.clear()


@functools.lru_cache(maxsize=4096)
def _meant(text: str) -> dict[str, Any]:
    """Return the meaning of a config as JSON; a table's rows share most parts."""
    config = comparable(json.loads(text))
    for split in ("train", "validation", "test"):
        for name in ("root", "data_dir"):  # results do not depend on where the files are
            config["data"].get(split, {}).pop(name, None)
    return config


def config_file(results: str, table: str) -> str:
    """Return the path of a table's recorded configs."""
    return os.path.join(results, "configs", f"{table}.jsonl")
