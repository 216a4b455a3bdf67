"""What a row of a table runs, and which recorded results are of that.

Each results file has a file of the same name in results/configs: the configs that its lines were measured with, by id.  A line is of a
row if both mean the same, in whatever version's words (aeseg/renames.py): a refactoring keeps every result, and a changed row keeps none.
"""

import ast
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
from ..papers import Row

SCORED = ("best", "batch_statistics", "reference_boundaries")
"""Fields of a row that are flags of `evaluate`; a description lists those that are set."""

CODE = 1
"""The version of what the code computes.  Raise it with a change that moves results: every row is then trained and measured anew.

A change that moves the results of some rows only raises their `revision`."""

Description = dict[str, Any]
"""command, config, init (the description of the run it starts from, or None), scored, revision, code."""


def described(rows: Sequence[Row], scored: bool = True) -> dict[str, Description]:
    """Return what each row runs, by its name; without `scored` only what it trains."""
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
    """Return the meaning of a description as text: equal texts train and score the same."""
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

    A description that the file holds already, perhaps in an earlier version's words, has the id that it has there.
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
    """Return the row's config with its overrides and further fields, read as a command line's are."""
    return cli.parse(["tables", *assignments({**row.overrides, **extra})], "", config=row.config).config


def assignments(fields: Mapping[str, object]) -> list[str]:
    """Return the flags that set config fields."""
    return [f"--config.{name}={value}" for name, value in fields.items()]


@functools.lru_cache(maxsize=4096)
def _config(name: str, overrides: str) -> dict[str, Any]:
    """Return the plain config of a name, with the fields of a literal dict set; nobody changes it."""
    return spec.plain(cli.with_fields(name, ast.literal_eval(overrides)))


def forget() -> None:
    """Forget what the configs of rows are and mean, as must be done where their code changes within a process."""
    _config.cache_clear()
    _meant.cache_clear()


@functools.lru_cache(maxsize=4096)
def _meant(text: str) -> dict[str, Any]:
    """Return the meaning of a config in JSON; a table's rows share most of theirs."""
    config = comparable(json.loads(text))
    for split in ("train", "validation", "test"):
        for place in ("root", "data_dir"):  # results do not depend on where the files are
            config["data"].get(split, {}).pop(place, None)
    return config


def config_file(results: str, table: str) -> str:
    """Return the path of a table's recorded configs."""
    return os.path.join(results, "configs", f"{table}.jsonl")
