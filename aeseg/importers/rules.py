"""Convert foreign tensors to variables and back, by one list of rules that works in both directions.

A `Rule` pairs two names, in which `{i}` and `{j}` stand for integers. If `ours` lacks a wildcard of `theirs`, the tensors are
stacked along a leading axis in the order of that integer (layers under `nn.scan`). Every foreign tensor and every leaf of ours is
used exactly once, or an error lists the names and shapes.
"""

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from aeseg import tree
from aeseg.types import UserError

SHOWN = 12
"""Number of lines of each kind that an error lists; it counts the rest."""

WILDCARD = re.compile(r"{([a-z])}")

Arrange = Callable[[np.ndarray], np.ndarray]


def check_fixed(config: Mapping[str, Any], fixed: Mapping[str, Any], claim: str) -> None:
    """Raise UserError if a config.json has another value than one that our model always has; `claim` begins the sentence."""
    for name, value in fixed.items():
        if config.get(name, value) != value:
            raise UserError(f"{claim} {name} {value!r}; this config.json has {config[name]!r}. Use other weights.")


class Form(NamedTuple):
    """Conversion of a foreign layout into ours, and its exact inverse."""

    into: Arrange
    back: Arrange


FORMS = {
    "same": Form(lambda array: array, lambda array: array),
    "linear": Form(lambda array: array.T, lambda array: array.T),  # out, in <-> in, out
    "convolution": Form(lambda array: array.transpose(2, 3, 1, 0), lambda array: array.transpose(3, 2, 0, 1)),  # o i h w <-> h w i o
    "up_convolution": Form(lambda array: array.transpose(2, 3, 0, 1), lambda array: array.transpose(2, 3, 0, 1)),  # i o h w <-> h w i o
    "pointwise": Form(lambda array: array[:, :, 0, 0].T, lambda array: array.T[:, :, None, None]),  # o i 1 1 <-> i o
    "row": Form(lambda array: array[0], lambda array: array[None]),  # 1 ... <-> ...
    "channels": Form(lambda array: array[0, 0, 0], lambda array: array[None, None, None]),  # 1 1 1 d <-> d
}
"""Layout conversions by name; PyTorch's layout is on the left. A `Form` that only one family needs is in the file of the family."""


class Rule(NamedTuple):
    """A foreign name, our path (`params/encoder/blocks/query/kernel`), and the layout conversion: a name in FORMS, or a Form."""

    theirs: str
    ours: str
    form: str | Form = "same"


class Buffer(NamedTuple):
    """A foreign tensor without a variable of ours (`num_batches_tracked`): ignored when read, written with this value."""

    theirs: str
    value: np.ndarray | np.generic


def layer_rules(theirs: str, ours: str, form: str) -> list[Rule]:
    """Return the rules for weight and bias of a layer: our kernel and bias."""
    return [Rule(f"{theirs}.weight", f"{ours}/kernel", form), Rule(f"{theirs}.bias", f"{ours}/bias")]


def norm_rules(theirs: str, ours: str) -> list[Rule]:
    """Return the rules for weight and bias of a norm: our scale and bias."""
    return [Rule(f"{theirs}.weight", f"{ours}/scale"), Rule(f"{theirs}.bias", f"{ours}/bias")]


def from_foreign(
    rules: Sequence[Rule | Buffer], tensors: Mapping[str, np.ndarray], like: Any = None, ignored: Sequence[str] = ()
) -> dict[str, Any]:
    """Convert foreign tensors to variables {"params": ..., "batch_stats": ...}.

    `like` holds the variables of the model (arrays or shapes), which the result must match exactly; without it, only the rules are
    checked. `ignored` holds shell patterns of tensors to leave out. Raises UserError with the names and shapes of tensors that are
    missing, that match no rule, or that have a wrong shape.
    """
    buffers = {rule.theirs for rule in rules if isinstance(rule, Buffer)}
    left = {name: tensors[name] for name in tensors if name not in buffers and not tree.matches(name, ignored)}
    if like is not None:
        _check(_views(rules, {path: np.broadcast_to(np.float32(0), leaf.shape) for path, leaf in tree.flatten(like).items()}), left)
    used: dict[str, str] = {}
    leaves: dict[str, np.ndarray] = {}
    for rule in (rule for rule in rules if isinstance(rule, Rule)):
        matched = {name: values for name in left if (values := _wildcards(rule.theirs, name)) is not None}
        if not matched:
            raise _misfit(["Missing:", f"  {rule.theirs} (for {rule.ours})"])
        _use_once(used, matched, rule.theirs)
        stacked = _stacked(rule)
        groups: dict[str, dict[int, str]] = {}
        for name, values in matched.items():
            groups.setdefault(_filled(rule.ours, values), {})[values.get(stacked, 0)] = name
        for path, group in groups.items():
            if path in leaves:
                raise ValueError(f"Two rules give {path}.")
            arrays = [_arranged(rule, name, left[name]) for _, name in sorted(group.items())]
            leaves[path] = _stack(rule, group, arrays) if stacked else arrays[0]
    unexpected = sorted(left.keys() - used.keys())
    if unexpected:
        raise _misfit(_listed("Unexpected", (f"{name} {left[name].shape}" for name in unexpected)))
    return tree.unflatten(leaves)


def to_foreign(rules: Sequence[Rule | Buffer], variables: Any) -> dict[str, np.ndarray]:
    """Convert variables to contiguous arrays by foreign name: the inverse of `from_foreign`. UserError if a leaf matches no rule."""
    views = _views(rules, {path: np.asarray(leaf) for path, leaf in tree.flatten(variables).items()})
    buffers = {rule.theirs: rule.value for rule in rules if isinstance(rule, Buffer)}
    # safetensors ignores strides and writes the memory of an array as it is
    return {name: np.asarray(array, order="C") for name, array in {**views, **buffers}.items()}


def _views(rules: Sequence[Rule | Buffer], leaves: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the foreign tensors of our leaves by name, as views."""
    used: dict[str, str] = {}
    tensors: dict[str, np.ndarray] = {}
    for rule in (rule for rule in rules if isinstance(rule, Rule)):
        matched = {path: values for path in leaves if (values := _wildcards(rule.ours, path)) is not None}
        if not matched:
            raise _misfit(["Missing:", f"  {rule.ours} (for {rule.theirs})"])
        _use_once(used, matched, rule.ours)
        back, stacked = _form(rule).back, _stacked(rule)
        for path, values in matched.items():
            parts = enumerate(leaves[path]) if stacked else [(0, leaves[path])]
            for layer, part in parts:
                name = _filled(rule.theirs, {**values, stacked: layer})
                if name in tensors:
                    raise ValueError(f"Two rules give {name}.")
                tensors[name] = back(part)
    unexpected = sorted(leaves.keys() - used.keys())
    if unexpected:
        raise _misfit(_listed("Unexpected", (f"{path} {leaves[path].shape}" for path in unexpected)))
    return tensors


def _check(expected: Mapping[str, np.ndarray], given: Mapping[str, np.ndarray]) -> None:
    """Raise UserError unless both have the same names and shapes."""
    missing, unexpected = sorted(expected.keys() - given.keys()), sorted(given.keys() - expected.keys())
    wrong = [name for name in sorted(expected.keys() & given.keys()) if expected[name].shape != given[name].shape]
    if missing or unexpected or wrong:
        raise _misfit(
            [
                *_listed("Missing", (f"{name} {expected[name].shape}" for name in missing)),
                *_listed("Unexpected", (f"{name} {given[name].shape}" for name in unexpected)),
                *_listed("Wrong shape", (f"{name}: expected {expected[name].shape}, got {given[name].shape}" for name in wrong)),
            ]
        )


def _misfit(lines: Sequence[str]) -> UserError:
    remedy = "Use weights of the model that the config describes; `ignored` lists tensors to leave out."
    return UserError("\n".join(["The tensors do not fit the rules of the model.", *lines, remedy]))


def _listed(title: str, lines: Iterable[str]) -> list[str]:
    lines = [f"  {line}" for line in lines]
    more = [f"  and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return [f"{title}:", *lines[:SHOWN], *more] if lines else []


def _use_once(used: dict[str, str], names: Iterable[str], pattern: str) -> None:
    for name in names:
        if name in used:
            raise ValueError(f"Two rules take {name}: {used[name]} and {pattern}.")
        used[name] = pattern


def _stacked(rule: Rule) -> str:
    """Return the wildcard of `theirs` along which tensors are stacked, or ""."""
    theirs, ours = set(WILDCARD.findall(rule.theirs)), set(WILDCARD.findall(rule.ours))
    if ours - theirs or len(theirs - ours) > 1:
        raise ValueError(f"{rule}: `ours` may lack one wildcard of `theirs`, along which tensors are stacked, and has no other wildcard.")
    return "".join(theirs - ours)


def _stack(rule: Rule, group: Mapping[int, str], arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Stack the arrays of one leaf along a new leading axis."""
    absent = sorted(set(range(max(group) + 1)) - group.keys())
    if absent:
        raise _misfit(_listed("Missing", (_filled(rule.theirs, {_stacked(rule): layer}) for layer in absent)))
    if len({array.shape for array in arrays}) > 1:
        raise _misfit(
            _listed(
                "Wrong shape: the layers of a stack must have the same shape",
                (f"{group[layer]}: {array.shape}" for layer, array in zip(sorted(group), arrays, strict=True)),
            )
        )
    return np.stack(arrays)


def _arranged(rule: Rule, name: str, array: np.ndarray) -> np.ndarray:
    form = _form(rule)
    try:
        arranged = form.into(array)
        exact = form.back(arranged).shape == array.shape
    except (ValueError, IndexError):
        exact = False
    if not exact:
        raise _misfit(["Wrong shape:", f"  {name}: {array.shape} does not fit the layout {rule.form!r}"])
    return np.asarray(arranged, order="C")


def _form(rule: Rule) -> Form:
    return rule.form if isinstance(rule.form, Form) else FORMS[rule.form]


def _wildcards(pattern: str, name: str) -> dict[str, int] | None:
    """Return {wildcard: integer} if the name matches the pattern, else None."""
    match = _expression(pattern).fullmatch(name)
    return None if match is None else {key: int(value) for key, value in match.groupdict().items()}


@functools.cache
def _expression(pattern: str) -> re.Pattern[str]:
    seen: set[str] = set()

    def group(match: re.Match[str]) -> str:
        name = match.group(1)
        again = name in seen
        seen.add(name)
        return f"(?P={name})" if again else f"(?P<{name}>0|[1-9][0-9]*)"

    return re.compile(WILDCARD.sub(group, re.escape(pattern).replace(r"\{", "{").replace(r"\}", "}")))


def _filled(pattern: str, values: Mapping[str, int]) -> str:
    """Replace the wildcards of the pattern by integers."""
    return WILDCARD.sub(lambda match: str(values[match.group(1)]), pattern)
