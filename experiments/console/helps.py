"""Help text of a config: a line for each field, with its value, its default and its description."""

import inspect
import re
from typing import Any

from ml_collections import ConfigDict

from aeseg import spec

WIDTH = 44
"""Width of a field and its value, in columns."""


def fields(config: ConfigDict) -> str:
    """Return a line `--config.<name> = <value>  (default; description)` for each field of a config, part by part."""
    return "\n".join(_lines(spec.plain(config), "--config"))


def _lines(node: Any, name: str) -> list[str]:
    if isinstance(node, list) and node and isinstance(node[0], dict):
        return [line for index, item in enumerate(node) for line in _lines(item, f"{name}[{index}]")]
    if not isinstance(node, dict):
        return [f"  {name} = {_spelled(node)}"]
    factory = spec.resolve(node["target"]) if "target" in node else None
    texts, defaults = (documented(factory), spec.plain(spec.defaults(factory))) if factory else ({}, {})
    lines = [f"  {name}: {factory.__name__}"] if factory else []
    for field, value in node.items():
        if field == "target":
            continue
        if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
            lines += _lines(value, f"{name}.{field}")
            continue
        notes = [f"default {_spelled(defaults[field])}"] if field in defaults and defaults[field] != value else []
        notes += [texts[field]] if field in texts else []
        described = f"  ({'; '.join(notes)})" if notes else ""
        lines.append(f"  {f'{name}.{field} = {_spelled(value)}':<{WIDTH}}{described}".rstrip())
    return lines


def documented(factory: Any) -> dict[str, str]:
    """Return the first line about each field in a docstring with lines `name, name   description`."""
    known, texts = inspect.signature(factory).parameters, {}
    for line in (inspect.getdoc(factory) or "").splitlines():
        match = re.match(r" {0,4}(\w+(?:, \w+)*) {2,}(\S.*)", line)
        for field in match.group(1).split(", ") if match else ():
            if field in known:
                texts[field] = match.group(2)  # type: ignore[union-attr]
    return texts


def _spelled(value: Any) -> str:
    if isinstance(value, list):
        return f"({','.join(map(_spelled, value))}{',' if len(value) == 1 else ''})"
    return repr(value) if isinstance(value, str) and not value else str(value)
