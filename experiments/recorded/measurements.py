"""Recorded results of tables: one line per row and seed, in experiments/results/<table>.jsonl."""

import os
from collections.abc import Sequence
from typing import Any

from aeseg import jsonlines

from . import descriptions
from .rows import Row

RESULTS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "results")


def tables() -> list[str]:
    """Return the names of the tables with results."""
    return sorted(name.removesuffix(".jsonl") for name in os.listdir(os.path.join(RESULTS, "configs")) if name.endswith(".jsonl"))


def lines(table: str) -> list[dict[str, Any]]:
    """Return the results of a table, oldest first.

    A wrong measurement stays in the file, with the reason in its field `withdrawn`, but is left out here.
    """
    return [line for line in jsonlines.read(os.path.join(RESULTS, f"{table}.jsonl")) if "withdrawn" not in line]


def current(table: str, paper: Any) -> list[dict[str, Any]]:
    """Return the results of the table's present rows on its split: the last line of each row and seed.

    A line belongs to a row if its recorded config has the row's meaning (`descriptions`); other lines are left out.
    """
    ids = matching(table, paper.ROWS)
    matched = [line for line in lines(table) if line["config"] in ids.get(line["row"], ()) and line["split"] == paper.SPLIT]
    return list({(line["row"], line["seed"]): line for line in matched}.values())


def matching(table: str, rows: Sequence[Row]) -> dict[str, set[str]]:
    """Return, by the row's name, the ids of the table's recorded configs with the row's meaning."""
    return descriptions.matching(descriptions.config_file(RESULTS, table), rows)


def append(table: str, line: dict[str, Any]) -> None:
    """Append a line to the results of a table."""
    jsonlines.write(os.path.join(RESULTS, f"{table}.jsonl"), line)
