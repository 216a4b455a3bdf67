"""Space of a sweep: values and ranges of config fields, joined by product, zip and chain.

    optimiser.learning_rate=1e-3,3e-3 method.head.convolutions=1,2            a product: all combinations, four trials
    optimiser.learning_rate=1e-3,3e-3 & optimiser.weight_decay=0,0.1     a zip: first with first, second with second
    optimiser.learning_rate=1e-3 | ema=0.99,0.999                        a chain: one part after the other, three trials
    optimiser.learning_rate=log(1e-4,1e-2) ema=uniform(0.9,0.999)        ranges, from which a sampler draws

`&` binds closest, then the space, then `|`.  Put a value with commas in brackets or quotes: window=(64,64),(96,96).  A Python file can nest
them freely:

    from experiments.search.space import chain, log_uniform, product, uniform, values, zipped  # installed: aeseg.experiments

    def get_space():
        return product(log_uniform("optimiser.learning_rate", 1e-4, 1e-2), values("method.head.convolutions", 1, 2))
"""

import itertools
import math
import re
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from aeseg.types import UserError

GRAMMAR = "field=value,value or field=log(low,high) or field=uniform(low,high)"
CLOSING = {"(": ")", "[": "]", "{": "}"}

Fields = dict[str, Any]
"""One trial: {field of the config: value}."""


class Chooser(Protocol):
    """The part of an Optuna trial that a space needs."""

    def suggest_categorical(self, name: str, choices: list[int]) -> int: ...

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int: ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float: ...


class Range(NamedTuple):
    """A field with a uniform distribution between two bounds, or with `log` a log-uniform one; integers if both bounds are integers."""

    field: str
    low: float
    high: float
    log: bool


Axis = Range | tuple[Fields, ...]
"""A range, or a list of values; each value sets one field, or several fields together."""


class Space(NamedTuple):
    """A chain of products.  A product has all combinations of the values of its axes."""

    products: tuple[tuple[Axis, ...], ...]


def values(field: str, *given: Any) -> Space:
    """Return the space of the given values."""
    if not given or "" in given:
        raise UserError(f"Expected values of {field}; got {'an empty value' if given else 'none'}. Write {GRAMMAR}.")
    return Space(((tuple({field: value} for value in given),),))


def uniform(field: str, low: float, high: float) -> Space:
    """Return the space of uniformly distributed numbers between the bounds."""
    if not -math.inf < low < high < math.inf:
        raise UserError(f"Expected a lower and an upper bound of {field}; got {low} and {high}. Write {field}=uniform(low,high).")
    return Space(((Range(field, low, high, False),),))


def log_uniform(field: str, low: float, high: float) -> Space:
    """Return the space of log-uniformly distributed numbers between the bounds."""
    if not 0 < low < high < math.inf:
        raise UserError(f"Expected a lower and an upper bound of {field}, above 0; got {low} and {high}. Write {field}=log(low,high).")
    return Space(((Range(field, low, high, True),),))


def product(*parts: Space) -> Space:
    """Combine each trial of a part with all trials of the other parts."""
    _check_different("product", parts)
    return Space(tuple(tuple(itertools.chain(*axes)) for axes in itertools.product(*(part.products for part in parts))))


def zipped(*parts: Space) -> Space:
    """Combine the first trials of all parts, then the second, and so on; parts must be equally long."""
    _check_different("zip", parts)
    if drawn := [field for part in parts for field in ranges(part)]:
        raise UserError(f"A zip joins values, first with first; {drawn[0]} is a range. List its values, or replace `&` by a space.")
    lengths = {" ".join(fields(part)): len(points(part)) for part in parts}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise UserError(f"A zip joins equally many values, first with first; {counts}. Give equally many, or replace `&` by a space.")
    return Space(((tuple(map(_merged, zip(*map(points, parts), strict=True))),),))


def chain(*parts: Space) -> Space:
    """Try one part after another; fields that a part does not set keep the config's values there."""
    if not parts:
        raise UserError("Expected the parts of a chain; got none. Pass spaces to join.")
    return Space(tuple(axes for part in parts for axes in part.products))


def fields(space: Space) -> list[str]:
    """Return the fields that a space sets, each once, in order."""
    return list(dict.fromkeys(field for axes in space.products for axis in axes for field in _fields(axis)))


def ranges(space: Space) -> list[str]:
    """Return the fields that are ranges somewhere in the space; a space without ranges is finite."""
    return [axis.field for axes in space.products for axis in axes if isinstance(axis, Range)]


def points(space: Space) -> list[Fields]:
    """Return all trials of a finite space, in order."""
    return [_merged(each) for axes in space.products for each in itertools.product(*axes)]  # type: ignore[arg-type]


def draw(space: Space, choose: Chooser) -> Fields:
    """Draw one trial; all parts of a chain are equally likely, whatever their lengths."""
    index, prefix = 0, ""
    if len(space.products) > 1:
        index = choose.suggest_categorical(" | ".join(fields(space)), list(range(len(space.products))))
        prefix = f"{index}/"

    def drawn(axis: Axis) -> Fields:
        name = prefix + " & ".join(_fields(axis))
        match axis:
            case Range(field, int(low), int(high), log):
                return {field: choose.suggest_int(name, low, high, log=log)}
            case Range(field, low, high, log):
                return {field: choose.suggest_float(name, low, high, log=log)}
        return axis[choose.suggest_categorical(name, list(range(len(axis))))]

    return _merged(map(drawn, space.products[index]))


def parsed(text: str) -> Space:
    """Parse the space that a command line describes."""
    if not text.strip():
        raise UserError(f"Expected a space of trials; got none. Set --space='{GRAMMAR}', or a Python file with get_space().")
    parts = []
    for alternative in _split(text, "|"):
        zips: list[list[Space]] = []
        for number, piece in enumerate(_split(alternative, "&")):
            words = [_leaf(word) for word in _split(piece, " \t\n") if word]
            if not words:
                raise UserError(f"Expected {GRAMMAR} on both sides of each `&` and `|`; got {text!r}.")
            if number:
                zips[-1].append(words.pop(0))  # & joins the words on both sides
            zips += [[word] for word in words]
        parts.append(product(*(zipped(*words) if len(words) > 1 else words[0] for words in zips)))
    return chain(*parts)


def _leaf(word: str) -> Space:
    """Parse the values or the range of `field=...`."""
    field, equals, right = word.partition("=")
    if not field or not equals:
        raise UserError(f"Expected {GRAMMAR}, without spaces around = and the commas; got {word!r} in the space.")
    if not (call := re.fullmatch(r"(\w+)\((.*)\)", right)):
        return values(field, *(re.sub(r"^(['\"])(.*)\1$", r"\2", value, flags=re.DOTALL) for value in _split(right, ",")))
    named = {"log": log_uniform, "uniform": uniform}
    try:
        rule = named[call[1]]
        low, high = (float(bound) if re.search("[.eEn]", bound) else int(bound) for bound in call[2].split(","))
    except (ValueError, KeyError):
        raise UserError(f"Expected log(low,high) or uniform(low,high) with two numbers; got {word!r} in the space.") from None
    return rule(field, low, high)


def _split(text: str, separators: str) -> list[str]:
    """Split at each separator outside brackets and quotes."""
    pieces, closing, quote = [""], [], ""
    for each in text:
        if quote or each in "\"'":
            quote = "" if each == quote else quote or each
        elif each in CLOSING:
            closing.append(CLOSING[each])
        elif closing and each == closing[-1]:
            closing.pop()
        elif each in separators and not closing:
            pieces.append("")
            continue
        pieces[-1] += each
    if closing or quote:
        raise UserError(f"Expected a closing {quote or closing[-1]} in the space; got {text!r}.")
    return pieces


def _fields(axis: Axis) -> list[str]:
    return [axis.field] if isinstance(axis, Range) else list(_merged(axis))


def _merged(parts: Iterable[Fields]) -> Fields:
    return {field: value for part in parts for field, value in part.items()}


def _check_different(rule: str, parts: tuple[Space, ...]) -> None:
    if not parts:
        raise UserError(f"Expected the parts of a {rule}; got none. Pass spaces to join.")
    every = [field for part in parts for field in fields(part)]
    if twice := [field for field in every if every.count(field) > 1]:
        raise UserError(f"A {rule} sets each field once; {twice[0]} is set twice. Put a `|` between the two, or set it once.")
