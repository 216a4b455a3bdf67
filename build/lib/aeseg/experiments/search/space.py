"""What a sweep tries: values and ranges of config fields, joined by product, zip and chain.

    optimiser.learning_rate=1e-3,3e-3 method.head.convolutions=1,2            a product: each with each, four trials
    optimiser.learning_rate=1e-3,3e-3 & optimiser.weight_decay=0,0.1     a zip: first with first, second with second
    optimiser.learning_rate=1e-3 | ema=0.99,0.999                        a chain: one after the other, three trials
    optimiser.learning_rate=log(1e-4,1e-2) ema=uniform(0.9,0.999)        ranges, of which a sampler draws

`&` binds closest, then the space, then `|`.  A value with commas stands in brackets or quotes: window=(64,64),(96,96).  The same
from a Python file, where they may be nested freely:

    from .space import chain, log_uniform, product, uniform, values, zipped

    def get_space():
        return product(log_uniform("optimiser.learning_rate", 1e-4, 1e-2), values("method.head.convolutions", 1, 2))
"""

import dataclasses
import itertools
import math
import re
from collections.abc import Callable
from typing import Any, Protocol

from aeseg.types import UserError

GRAMMAR = "field=value,value or field=log(low,high) or field=uniform(low,high)"
CLOSING = {"(": ")", "[": "]", "{": "}"}

Fields = dict[str, Any]
"""One trial: {field of the config: value}."""


class Chooser(Protocol):
    """What draws from a space: the part of an Optuna trial that a space needs, under Optuna's names."""

    def suggest_categorical(self, name: str, choices: list[int]) -> int: ...

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int: ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float: ...


@dataclasses.dataclass(frozen=True)
class Values:
    """A field, and the values that it takes."""

    field: str
    values: tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Range:
    """A field, and the bounds between which it is drawn, uniformly or in its logarithm; whole numbers where the bounds are."""

    field: str
    low: float
    high: float
    log: bool


@dataclasses.dataclass(frozen=True)
class Joined:
    """Spaces joined by `rule`: product, zip or chain."""

    rule: str
    parts: tuple["Space", ...]


Space = Values | Range | Joined


def values(field: str, *given: Any) -> Space:
    """Each of the values given."""
    if not given or "" in given:
        raise UserError(f"Expected values of {field}; got {'an empty one' if given else 'none'}. Write {GRAMMAR}.")
    return Values(field, given)


def uniform(field: str, low: float, high: float) -> Space:
    """Any number between the bounds, each as likely."""
    if not -math.inf < low < high < math.inf:
        raise UserError(f"Expected a lower and an upper bound of {field}; got {low} and {high}. Write {field}=uniform(low,high).")
    return Range(field, low, high, False)


def log_uniform(field: str, low: float, high: float) -> Space:
    """Any number between the bounds, each power of ten as likely."""
    if not 0 < low < high < math.inf:
        raise UserError(f"Expected a lower and an upper bound of {field}, above 0; got {low} and {high}. Write {field}=log(low,high).")
    return Range(field, low, high, True)


def product(*parts: Space) -> Space:
    """Each trial of one part with each of the others."""
    return _of_different_fields("product", parts)


def zipped(*parts: Space) -> Space:
    """The first trial of each part together, then the second of each; all must be equally long."""
    found = [field for part in parts for field in ranges(part)]
    if found:
        raise UserError(f"A zip joins values, first with first; {found[0]} is a range. Name its values, or put a space for the `&`.")
    lengths = {" ".join(fields(part)): len(points(part)) for part in parts}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise UserError(f"A zip joins equally many values, first with first; {said}. Give each as many, or put a space for the `&`.")
    return _of_different_fields("zip", parts)


def chain(*parts: Space) -> Space:
    """The trials of one part after those of another; a field that a part does not name keeps the config's value there."""
    return _joined("chain", parts)


def fields(space: Space) -> list[str]:
    """The fields that a space sets, each once, in order."""
    return list(dict.fromkeys(leaf.field for leaf in leaves(space)))


def ranges(space: Space) -> list[str]:
    """The fields that are ranges somewhere in the space; a space without is finite."""
    return list(dict.fromkeys(leaf.field for leaf in leaves(space) if isinstance(leaf, Range)))


def leaves(space: Space) -> list[Values | Range]:
    """Its fields with values or bounds, in order."""
    return [leaf for part in space.parts for leaf in leaves(part)] if isinstance(space, Joined) else [space]


def mapped(space: Space, change: Callable[[Values | Range], Values | Range]) -> Space:
    """The space with each of its leaves changed."""
    if isinstance(space, Joined):
        return Joined(space.rule, tuple(mapped(part, change) for part in space.parts))
    return change(space)


def points(space: Space) -> list[Fields]:
    """Every trial of a finite space, in order."""
    if isinstance(space, Values):
        return [{space.field: value} for value in space.values]
    parts = [points(part) for part in space.parts]
    if space.rule == "chain":
        return [point for part in parts for point in part]
    rows = itertools.product(*parts) if space.rule == "product" else zip(*parts, strict=True)
    return [{field: value for point in row for field, value in point.items()} for row in rows]


def draw(space: Space, choose: Chooser, where: str = "") -> Fields:
    """One trial, as `choose` has it; each part of a chain is one choice, however long it is."""
    match space:
        case Values(field, given):
            return {field: given[choose.suggest_categorical(where + field, list(range(len(given))))]}
        case Range(field, int(low), int(high), log):
            return {field: choose.suggest_int(where + field, low, high, log=log)}
        case Range(field, low, high, log):
            return {field: choose.suggest_float(where + field, low, high, log=log)}
        case Joined("product", parts):
            return {field: value for part in parts for field, value in draw(part, choose, where).items()}
        case Joined("zip", _):
            together = points(space)
            return together[choose.suggest_categorical(where + " & ".join(fields(space)), list(range(len(together))))]
    place = choose.suggest_categorical(where + " | ".join(fields(space)), list(range(len(space.parts))))
    return draw(space.parts[place], choose, f"{where}{place}/")


def parsed(text: str) -> Space:
    """The space that a command line describes."""
    words = [word for word in _cut(text, " \t\n&|") if word.strip()]
    if not words:
        raise UserError(f"Expected a space of trials; got none. Write --space='{GRAMMAR}', or name a Python file with get_space().")
    if any(one in ("&", "|") and other in ("&", "|") for one, other in itertools.pairwise(["|", *words, "|"])):
        raise UserError(f"Expected {GRAMMAR} on both sides of each `&` and `|`; got {text!r}.")
    alternatives: list[list[list[Space]]] = [[]]
    for before, word in itertools.pairwise(["", *words]):
        if word == "|":
            alternatives.append([])
        elif before == "&":
            alternatives[-1][-1].append(_leaf(word))
        elif word != "&":
            alternatives[-1].append([_leaf(word)])
    zips = [[zipped(*group) if len(group) > 1 else group[0] for group in groups] for groups in alternatives]
    return chain(*(product(*groups) for groups in zips))


def _leaf(word: str) -> Space:
    """The values or the range of `field=...`."""
    field, equals, right = word.partition("=")
    if not field or not equals:
        raise UserError(f"Expected {GRAMMAR}, without spaces around = and the commas; got {word!r} in the space.")
    if not (call := re.fullmatch(r"(\w+)\((.*)\)", right)):
        return values(field, *(_unquoted(value) for value in _cut(right, ",")[::2]))
    named = {"log": log_uniform, "uniform": uniform}
    bounds = [_number(bound) for bound in call[2].split(",")]
    if call[1] not in named or len(bounds) != 2 or None in bounds:
        raise UserError(f"Expected log(low,high) or uniform(low,high) with two numbers; got {word!r} in the space.")
    return named[call[1]](field, *bounds)


def _cut(text: str, separators: str) -> list[str]:
    """Piece, separator, piece, ...: cut at each separator that stands neither in brackets nor in quotes."""
    pieces, closing, quote = [""], [], ""
    for each in text:
        if quote or each in "\"'":
            quote = "" if each == quote else quote or each
        elif each in CLOSING:
            closing.append(CLOSING[each])
        elif closing and each == closing[-1]:
            closing.pop()
        elif each in separators and not closing:
            pieces += [each, ""]
            continue
        pieces[-1] += each
    if closing or quote:
        raise UserError(f"Expected a closing {quote or closing[-1]} in the space; got {text!r}.")
    return pieces


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def _number(text: str) -> float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def _joined(rule: str, parts: tuple[Space, ...]) -> Space:
    if not parts:
        raise UserError(f"Expected the parts of a {rule}; got none. Give it spaces to join.")
    return parts[0] if len(parts) == 1 else Joined(rule, parts)


def _of_different_fields(rule: str, parts: tuple[Space, ...]) -> Space:
    every = [field for part in parts for field in fields(part)]
    for field in every:
        if every.count(field) > 1:
            raise UserError(f"A {rule} sets each field once; {field} stands in it twice. Put a `|` between the two, or name it once.")
    return _joined(rule, parts)
