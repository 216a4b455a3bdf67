"""Help text of a config: a line for each field, with its value, its default and its description."""

import inspect
import re
from typing import Any

from ml_collections import ConfigDict

from aeseg import spec
from aeseg.training import optimiser

COMMON = {
    "channels": "channels of the image",
    "classes": "number of classes",
    "convolutions": "number of convolutions at each stride",
    "depth": "number of blocks",
    "depths": "number of blocks of each stage",
    "drop_path": "rate of the last block; the rates rise linearly from 0",
    "dropout": "rate of dropout; 0: none",
    "dtype": "type of activations",
    "grid": "rows and columns of patches that the position table was made for",
    "heads": "attention heads",
    "height": "height in pixels",
    "initialiser": "first values of the kernels (aeseg/models/layers.py)",
    "mean": "subtracted from the image, one number or one for each channel",
    "norm": "none | batch | group | layer",
    "probability": "probability of applying it to a record",
    "epsilon": "small number in the divisions of norms",
    "hidden": "units of the hidden layers",
    "key": "entry of the record that it reads",
    "output_stride": "stride of the output",
    "patch": "side of a patch in pixels",
    "ratio": "hidden channels of a block's perceptron, relative to its width",
    "remat": "compute activations again in the backward pass, to save memory",
    "seed": "of the random numbers",
    "size": "side in pixels",
    "std": "divides the image after the mean was subtracted; (0,), (1,) leave it in [0, 1]",
    "stride": "stride of the features that it reads",
    "strides": "strides of the features that it reads; (): all",
    "unit": "side of a hidden square in pixels",
    "use_bias": "convolutions have a bias",
    "width": "width in pixels, or channels of a layer",
    "widths": "channels of each level",
}
"""{field: its description where a docstring leaves it out}."""

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
    """Return a sentence about each field.

    A docstring has it as `name, name   description`, with deeper continuation lines, or as a sentence with the name in backquotes: the
    docstring of the factory, of a class that it extends, or, for an optimiser, of its module and of `adamw`. `COMMON` describes the fields
    that many parts share.
    """
    factories = list(factory.__mro__) if isinstance(factory, type) else [factory]
    docstrings = [inspect.getdoc(each) or "" for each in factories]
    if factory.__module__ == optimiser.__name__:
        docstrings += [inspect.getdoc(optimiser) or "", inspect.getdoc(optimiser.adamw) or ""]
    texts: dict[str, str] = {}
    for field in inspect.signature(factory).parameters:
        text = next((entries[field] for entries in map(_entries, docstrings) if field in entries), COMMON.get(field))
        text = text or next((sentence for each in docstrings for sentence in _sentences(each) if f"`{field}`" in sentence), None)
        if text:
            texts[field] = text
    return texts


def _entries(docstring: str) -> dict[str, str]:
    """Return the first sentence of each line `name, name   description`, continuation lines included."""
    entries: dict[str, str] = {}
    fields: tuple[str, ...] = ()
    for line in docstring.splitlines():
        match = re.match(r" {0,4}(\w+(?:, \w+)*) {2,}(\S.*)", line)
        if match:
            fields, text = tuple(match.group(1).split(", ")), match.group(2)
        elif fields and re.match(r" {5,}\S", line):
            text = f"{entries[fields[0]]} {line.strip()}"
        else:
            fields, text = (), ""
        entries |= dict.fromkeys(fields, text)
    return {field: _sentences(text)[0] for field, text in entries.items()}


def _sentences(text: str) -> list[str]:
    """Split a docstring into sentences without their full stops; a line of a list begins a sentence."""
    joined = re.sub(r"\n(?=\n|\w+ {2,})", ". ", text.strip())
    parts = re.split(r"(?<=[\w)\"`%\]])(?<! al)(?<! eq)\.(?=\s|$)", re.sub(r"\s*\n\s*", " ", joined))
    return [re.sub(r"^\w+ {2,}", "", part.strip(" .")) for part in parts]


def _spelled(value: Any) -> str:
    if isinstance(value, list):
        return f"({','.join(map(_spelled, value))}{',' if len(value) == 1 else ''})"
    return repr(value) if isinstance(value, str) and not value else str(value)
