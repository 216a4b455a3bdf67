"""Tensors under foreign names to variables and back, by one list of rules that is read in both directions.

A `Rule` pairs names: `{i}` and `{j}` stand for integers.  Where `ours` lacks a wildcard of `theirs`, the tensors are stacked
along a leading axis, in the order of that integer (layers under `nn.scan`).  Nothing is skipped: every foreign tensor and
every leaf of ours is used exactly once, or an error lists the names and shapes.
"""

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from aeseg import tree
from aeseg.types import UserError

SHOWN = 12
"""Lines of each kind that an error lists; it counts the rest."""

WILDCARD = re.compile(r"{([a-z])}")

Arrange = Callable[[np.ndarray], np.ndarray]


class Form(NamedTuple):
    """How a foreign tensor is arranged as ours, and the exact inverse."""

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
"""Arrangements by name, PyTorch's layout on the left.  What only one family needs is a `Form` in its own file."""


class Rule(NamedTuple):
    """A foreign name, our path (`params/encoder/blocks/query/kernel`), and how the tensor is arranged: a name of FORMS, or a Form."""

    theirs: str
    ours: str
    form: str | Form = "same"


class Buffer(NamedTuple):
    """A foreign tensor that is no variable of ours (`num_batches_tracked`): not read, and written with this value."""

    theirs: str
    value: np.ndarray | np.generic


def from_foreign(
    rules: Sequence[Rule | Buffer], tensors: Mapping[str, np.ndarray], like: Any = None, ignored: Sequence[str] = ()
) -> dict[str, Any]:
    """Variables {"params": ..., "batch_stats": ...} of foreign tensors.

    `like`: the model's variables (arrays or shapes), which the tensors must give exactly; without it only what the rules alone
    tell is checked.  `ignored`: shell patterns of tensors that are left out knowingly.  Raises UserError for tensors that are
    missing, that no rule takes, or that have another shape, with their names and shapes.
    """
    buffers = {rule.theirs for rule in rules if isinstance(rule, Buffer)}
    left = {name: tensors[name] for name in tensors if name not in buffers and not tree.matches(name, ignored)}
    if like is not None:
        _check(_views(rules, {path: np.broadcast_to(np.float32(0), leaf.shape) for path, leaf in tree.flatten(like).items()}), left)
    used: dict[str, str] = {}
    leaves: dict[str, np.ndarray] = {}
    for rule in (rule for rule in rules if isinstance(rule, Rule)):
        found = {name: values for name in left if (values := _wildcards(rule.theirs, name)) is not None}
        if not found:
            raise _misfit(["Missing:", f"  {rule.theirs} (for {rule.ours})"])
        _use_once(used, found, rule.theirs)
        stacked = _stacked(rule)
        groups: dict[str, dict[int, str]] = {}
        for name, values in found.items():
            groups.setdefault(_filled(rule.ours, values), {})[values.get(stacked, 0)] = name
        for path, group in groups.items():
            if path in leaves:
                raise ValueError(f"Two rules give {path}.")
            arrays = [_arranged(rule, name, left[name]) for _, name in sorted(group.items())]
            leaves[path] = _stack(rule, group, arrays) if stacked else arrays[0]
    unexpected = sorted(left.keys() - used.keys())
    if unexpected:
        raise _misfit(_listed("Unexpected", (f"{name} {left[name].shape}" for name in unexpected)))
    return _nested(leaves)


def to_foreign(rules: Sequence[Rule | Buffer], variables: Any) -> dict[str, np.ndarray]:
    """The inverse of `from_foreign`: contiguous arrays by their foreign names.  Raises UserError for leaves that no rule takes."""
    views = _views(rules, {path: np.asarray(leaf) for path, leaf in tree.flatten(variables).items()})
    buffers = {rule.theirs: rule.value for rule in rules if isinstance(rule, Buffer)}
    # safetensors writes the memory behind an array, whatever its strides say
    return {name: np.asarray(array, order="C") for name, array in {**views, **buffers}.items()}


def _views(rules: Sequence[Rule | Buffer], leaves: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The foreign tensors of our leaves, by name, without copying one."""
    used: dict[str, str] = {}
    tensors: dict[str, np.ndarray] = {}
    for rule in (rule for rule in rules if isinstance(rule, Rule)):
        found = {path: values for path in leaves if (values := _wildcards(rule.ours, path)) is not None}
        if not found:
            raise _misfit(["Missing:", f"  {rule.ours} (for {rule.theirs})"])
        _use_once(used, found, rule.ours)
        back, stacked = _form(rule).back, _stacked(rule)
        for path, values in found.items():
            parts = enumerate(leaves[path]) if stacked else [(0, leaves[path])]
            for place, part in parts:
                name = _filled(rule.theirs, {**values, stacked: place})
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
    remedy = "Name weights of the model that the config describes; what may be left out stands in `ignored`."
    return UserError("\n".join(["The tensors do not fit the rules of the model.", *lines, remedy]))


def _listed(title: str, lines: Iterable[str]) -> list[str]:
    lines = [f"  {line}" for line in lines]
    more = [f"  and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return [f"{title}:", *lines[:SHOWN], *more] if lines else []


def _use_once(used: dict[str, str], found: Iterable[str], pattern: str) -> None:
    for name in found:
        if name in used:
            raise ValueError(f"Two rules take {name}: {used[name]} and {pattern}.")
        used[name] = pattern


def _stacked(rule: Rule) -> str:
    """The wildcard of `theirs` along which tensors are stacked; "" where there is none."""
    theirs, ours = set(WILDCARD.findall(rule.theirs)), set(WILDCARD.findall(rule.ours))
    if ours - theirs or len(theirs - ours) > 1:
        raise ValueError(f"{rule}: ours may lack one wildcard of theirs, along which tensors are stacked, and has no other.")
    return "".join(theirs - ours)


def _stack(rule: Rule, group: Mapping[int, str], arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The arrays of one leaf along a new leading axis."""
    absent = sorted(set(range(max(group) + 1)) - group.keys())
    if absent:
        raise _misfit(_listed("Missing", (_filled(rule.theirs, {_stacked(rule): place}) for place in absent)))
    if len({array.shape for array in arrays}) > 1:
        raise _misfit(
            _listed(
                "Wrong shape: layers of one stack need one",
                (f"{group[place]}: {array.shape}" for place, array in zip(sorted(group), arrays, strict=True)),
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
        raise _misfit(["Wrong shape:", f"  {name}: {array.shape} is not of the form {rule.form!r}"])
    return np.asarray(arranged, order="C")


def _form(rule: Rule) -> Form:
    return rule.form if isinstance(rule.form, Form) else FORMS[rule.form]


def _wildcards(pattern: str, name: str) -> dict[str, int] | None:
    """{wildcard: integer} where the name is of the pattern, else None."""
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
    """The pattern with its wildcards replaced by integers."""
    return WILDCARD.sub(lambda match: str(values[match.group(1)]), pattern)


def _nested(leaves: Mapping[str, np.ndarray]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *above, last = path.split("/")
        node = root
        for part in above:
            node = node.setdefault(part, {})
        node[last] = leaf
    return root
