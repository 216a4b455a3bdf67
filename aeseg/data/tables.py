"""Class table files: JSON, CSV, YAML, or one name per line.

[{"id": 0, "name": "sky", "colour": [128, 128, 128]}, {"id": 11, "name": "void", "colour": "#000", "ignore": true}]
{"id2label": {"0": "sky", "1": "road"}}      also {"0": "sky"}, {"sky": 0}, {"sky": [128, 128, 128]}
{"labels": {"background": 0, "leaf": 1, "ignore": 2}}      dataset.json of nnU-Net
{"categories": [{"id": 1, "name": "leaf"}]}                COCO
names: [leaf, stem]                                        data.yaml of Ultralytics
name,r,g,b                                                 class_dict.csv; also id,name and name,colour
leaf                                                       classes.txt
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from aeseg.data.files import shown, text
from aeseg.types import UserError

KINDS = (".json", ".csv", ".txt", ".yaml", ".yml")
"""File name endings of class tables."""

Entry = dict[str, Any]
"""One class: id, name, optionally colour (a triple) and ignore."""

_HARMLESS = {"supercategory", "isthing", "description", "category", "trainId", "hasInstances", "catid", "keypoints", "skeleton"}
_KNOWN = {"id", "name", "colour", "color", "rgb", "ignore", *_HARMLESS}
_MOST = 2**31 - 1


def read(path: Path) -> list[Entry]:
    """Read the classes of a table file; their ids differ."""
    content, where = text(path, "class table"), f"the class table {shown(path)}"
    ending = path.suffix.lower()
    if ending == ".json":
        entries = _of_json(_parsed(content, path), where)
    elif ending in (".yaml", ".yml"):
        entries = _of_json(_yaml(content, path), where)
    elif ending == ".csv":
        entries = _of_csv(content, where)
    else:
        entries = [inline(index, line) for index, line in enumerate(line.strip() for line in content.splitlines() if line.strip())]
    if not entries:
        raise UserError(f"{where} should hold a list of classes; see aeseg/data/tables.py for examples.".capitalize())
    return [_checked(entry, where) for entry in _without_repeats(entries, where)]


def inline(index: int, text: str) -> Entry:
    """Parse one class: `road`, `road #804080`, `road #848`, or with an id, `7: road`."""
    entry: Entry = {"id": index}
    numbered = re.fullmatch(r"(-?\d{1,9})\s*[:=]\s*(\S.*)", text)
    if numbered:
        entry["id"], text = int(numbered[1]), numbered[2]
        entry["numbered"] = True
    coloured = re.fullmatch(r"(.*\S)\s+#([0-9a-fA-F]{6}|[0-9a-fA-F]{3})", text)
    if coloured:
        return {**entry, "name": coloured[1], "colour": hexadecimal(coloured[2])}
    return {**entry, "name": text}


def hexadecimal(digits: str) -> tuple[int, ...]:
    """Return the colour of 3 or 6 hexadecimal digits, as in CSS."""
    return tuple(bytes.fromhex("".join(digit * 2 for digit in digits) if len(digits) == 3 else digits))


def _parsed(content: str, path: Path) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"The class table {shown(path)} is not JSON ({error}). Correct it.") from error


def _yaml(content: str, path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(content)
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"The class table {shown(path)} is not YAML ({shown(error)}). Correct it.") from error


def _of_json(content: Any, where: str) -> list[Entry]:
    if isinstance(content, Mapping):
        for key in ("id2label", "names", "labels", "categories", "label2id"):
            if isinstance(content.get(key), Mapping | list):
                return _of_json(content[key], where)
        return [_of_pair(index, key, value, where) for index, (key, value) in enumerate(content.items())]
    if not isinstance(content, list):
        raise UserError(f"{where} should hold a list of classes; see aeseg/data/tables.py for examples.".capitalize())
    return [inline(index, entry) if isinstance(entry, str) else entry for index, entry in enumerate(content)]


def _of_pair(index: int, key: Any, value: Any, where: str) -> Entry:
    """Parse one item of a mapping: id and name, name and id, or name and colour."""
    if isinstance(value, str) and re.fullmatch(r"-?\d+", str(key)):
        return {**inline(int(key), value), "id": int(key), "numbered": True}
    if isinstance(value, int) and not isinstance(value, bool):
        return {"id": value, "name": str(key), "numbered": True, "ignore": str(key) == "ignore"}
    if isinstance(value, str | list) and not str(key).isdecimal():
        return {"id": index, "name": str(key), "colour": value}
    raise UserError(f"In {where}, expected id and name, name and id, or name and colour; got {_few(key, value)}. Correct it.")


def _of_csv(content: str, where: str) -> list[Entry]:
    first = content.split("\n", 1)[0]
    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(content), delimiter=max(",;\t", key=first.count))]
    rows = [row for row in rows if any(row)]
    header = [cell.lower() for cell in rows[0]] if rows else []
    if not {"name", "class", "label", "class_name"} & set(header):
        header = {1: ["name"], 2: ["id", "name"], 4: ["name", "r", "g", "b"], 5: ["id", "name", "r", "g", "b"]}.get(len(header), [])
        if len(header) == 2 and not rows[0][0].lstrip("-").isdecimal():
            header = ["name", "colour"]
    else:
        rows = rows[1:]
    header = [
        {"class": "name", "label": "name", "class_name": "name", "color": "colour", "hex": "colour"}.get(cell, cell) for cell in header
    ]
    header = [{"red": "r", "green": "g", "blue": "b", "class_id": "id", "index": "id", "value": "id"}.get(cell, cell) for cell in header]
    entries = []
    for index, row in enumerate(rows):
        if "name" not in header or len(row) != len(header):
            raise UserError(
                f"In {where}, line {shown(','.join(row))!r} does not fit; expected a header with name and id, "
                "colour, or r, g, b. Correct it."
            )
        cells = dict(zip(header, row, strict=True))
        entry: Entry = {"id": cells.get("id", index), "name": cells["name"], "numbered": "id" in cells}
        if {"r", "g", "b"} <= cells.keys():
            entry["colour"] = [_integer(cells[channel]) for channel in "rgb"]
        elif cells.get("colour"):
            entry["colour"] = cells["colour"]
        if cells.get("ignore", "").lower() in ("1", "true", "yes"):
            entry["ignore"] = True
        entries.append(entry)
    return entries


def _without_repeats(entries: Iterable[Any], where: str) -> list[Entry]:
    seen: set[int] = set()
    for entry in entries:
        numbered = isinstance(entry, dict) and isinstance(entry.get("id"), str | int) and not isinstance(entry.get("id"), bool)
        if not numbered or not ("name" in entry or entry.get("ignore")) or not entry.keys() <= _KNOWN | {"numbered"}:
            raise UserError(f"In {where}, a class has id, name and, if wanted, colour and ignore; got {shown(json.dumps(entry)[:200])}.")
        number = _integer(entry["id"])
        if not isinstance(number, int) or abs(number) > _MOST or number in seen:
            raise UserError(f"In {where}, ids are different numbers; got {shown(json.dumps(entry)[:200])}.")
        seen.add(number)
        entry["id"] = number
    return list(entries)


def _checked(entry: Entry, where: str) -> Entry:
    """Return the entry with its id as an integer and its colour as a triple."""
    kept: Entry = {"id": entry["id"], "name": str(entry.get("name", "ignored")), "numbered": entry.get("numbered", True)}
    if entry.get("ignore"):
        kept["ignore"] = True
    colour = entry.get("colour", entry.get("color", entry.get("rgb")))
    if isinstance(colour, str) and re.fullmatch(r"#?([0-9a-fA-F]{6}|[0-9a-fA-F]{3})", colour):
        colour = hexadecimal(colour.removeprefix("#"))
    if colour is not None:
        fits = isinstance(colour, list | tuple) and len(colour) == 3
        if not fits or not all(isinstance(value, int) and 0 <= value <= 255 for value in colour):
            raise UserError(f"In {where}, a colour is [red, green, blue], each 0..255, or #rrggbb; {kept['name']} has {shown(colour)}.")
        kept["colour"] = tuple(colour)
    return kept


def _integer(value: Any) -> Any:
    return int(value) if isinstance(value, str) and re.fullmatch(r"-?\d{1,10}", value.strip()) else value


def _few(key: Any, value: Any) -> str:
    return shown(f"{key}: {value}"[:100])
