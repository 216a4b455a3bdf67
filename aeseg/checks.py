"""Checks of arguments and memory before anything is built or allocated.

`check_arguments` takes an argument's type from the signature and its range from its name (`RANGES`); constructors check the rest.
`check_memory` compares a size with the machine's memory.
"""

import functools
import inspect
import math
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax

from aeseg.types import UserError

Number = int | float

INT32 = 2**31 - 1
"""The largest index, and the largest number of steps that a state holds."""

SIDE = 2**16
"""The largest height or width of an image, in pixels."""

RANGES: dict[str, tuple[Number, Number]] = {
    **dict.fromkeys(("height", "width", "window", "size", "grid", "patch", "stride", "strides", "sizes", "multiple", "unit"), (1, SIDE)),
    **dict.fromkeys(("widths", "features", "hidden", "heads", "kernels", "reductions", "auxiliary_width", "growth"), (1, SIDE * 16)),
    **dict.fromkeys(("depth", "depths", "blocks", "convolutions", "bottlenecks", "deep_supervision"), (0, 10_000)),
    **dict.fromkeys(("channels", "classes"), (1, 10_000)),
    **dict.fromkeys(("dropout", "drop_path", "drop_paths", "probability", "share", "fraction"), (0, 1)),
    **dict.fromkeys(("std", "epsilon"), (1e-30, math.inf)),
    **dict.fromkeys(("b1", "b2"), (0, 1)),
    **dict.fromkeys(("learning_rate", "weight_decay", "clip", "cache_gib", "visible_weight"), (0, 1e9)),
    **dict.fromkeys(("threads", "workers"), (0, 256)),
    "batch_size": (1, 2**20),
    "fill": (-math.inf, math.inf),
    **dict.fromkeys(("label_map", "ignore_ids", "value_range"), (-INT32, INT32)),
    "padding": (-SIDE, SIDE),
}
"""Smallest and largest value of an argument, or of each item of a tuple, by name; other ints are 0 to INT32."""

CALLED = ("transforms", "evaluation_transforms")
"""Arguments whose items are called with a record."""


def check_arguments(factory: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Raise UserError unless each argument has the type of the factory's annotation and lies in the range of its name.

    `arguments` are the built arguments, as keywords.  Arguments annotated as Any or as a callable are not checked.
    """
    hints, kind = _hints(factory), getattr(factory, "__name__", str(factory))
    for name, value in arguments.items():
        if name not in hints:
            continue
        wanted = "" if _fits(value, hints[name]) else _spelled(hints[name])
        wanted = wanted or next((range_ for number in _numbers(value) if (range_ := _missed(name, number))), "")
        if wanted:
            raise UserError(f"{kind}.{name} must be {wanted}; got {_short(value)}. Set it in the config, or with its flag.")
        if name in CALLED and (wrong := [item for item in value if not callable(item)]):
            raise UserError(f"{kind}.{name} holds transforms (spec(RandomCrop, ...)); got {_short(wrong[0])} among them. Take it out.")
    mean, std = arguments.get("mean"), arguments.get("std")
    if isinstance(mean, tuple) and isinstance(std, tuple) and mean and std and len({len(mean), len(std), 1}) > 2:
        raise UserError(
            f"{kind} has a mean of {len(mean)} numbers and a std of {len(std)}. Give one of each for each channel, or one for all."
        )


def check_field(owner: str, name: str, value: Number, good: bool, expected: str) -> None:
    """Raise UserError with the field's name and `expected` unless its value is `good`, for constructors."""
    if not good:
        raise UserError(f"{owner} takes a {name} of {expected}; got {value}. Change {name} in the config.")


def state_bytes(state: Any) -> int:
    """Return the bytes of a state of arrays or shapes: the least memory of training, without gradients and activations."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(state) if hasattr(leaf, "shape"))


def check_memory(needed: Number, what: str, remedy: str, available: Number = 0) -> None:
    """Raise UserError if `needed` bytes exceed `available` (0: the memory of this machine or of its devices).

    `what` is the sentence's subject: check_memory(2**40, "A batch of 8 images of 60000x60000", "Lower --config.window.")
    """
    has = available or available_bytes()
    if needed > has:
        raise UserError(f"{what} needs at least {size(needed)}; this machine has {size(has)}. {remedy}")


def available_bytes() -> Number:
    """Return the total memory of this process's devices; on a CPU, of the machine or its control group."""
    limits = [(device.memory_stats() or {}).get("bytes_limit", 0) for device in jax.local_devices()]
    if all(limits):
        return sum(limits)
    bounds = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path, encoding="utf-8") as file:
                bounds.append(int(file.read()))
        except (OSError, ValueError):  # absent, or "max"
            continue
    return min(bounds)


def size(number: Number) -> str:
    """`36 TB`, `1.5 GB`."""
    units = ("B", "kB", "MB", "GB", "TB", "PB")
    power = min(len(units) - 1, int(math.log10(max(number, 1)) // 3))
    return f"{number / 1000**power:.3g} {units[power]}"


@functools.cache
def _hints(factory: Callable[..., Any]) -> dict[str, Any]:
    """Return the resolved annotations of a factory's arguments; for a wrapper, of the wrapped function."""
    whole = inspect.unwrap(factory)
    try:
        hints = typing.get_type_hints(whole)
        if isinstance(whole, type) and "__init__" in vars(whole):
            hints |= typing.get_type_hints(vars(whole)["__init__"])
    except (NameError, TypeError):
        return {}
    return {name: hint for name, hint in hints.items() if name in inspect.signature(whole).parameters}


def _fits(value: Any, hint: Any) -> bool:
    """Return whether a value has a type; True for types that are not simple."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in arguments)
    if hint is Any:
        return True
    if hint in (None, type(None)):
        return value is None
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return all(_fits(item, arguments[0]) for item in value)
        return len(value) == len(arguments) and all(map(_fits, value, arguments))
    if origin is Sequence:
        return isinstance(value, tuple | list) and all(_fits(item, arguments[0]) for item in value)
    if origin is Mapping:
        return isinstance(value, Mapping)
    return isinstance(value, hint) if isinstance(hint, type) and origin is None else True


def _numbers(value: Any) -> Iterable[Number]:
    """Yield the numbers in a value: the value itself, or the numbers in its tuples."""
    if isinstance(value, tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _missed(name: str, number: Number) -> str:
    """Return the range for an argument's name if a number is outside it, else ""."""
    if not math.isfinite(number):
        return "finite"
    low, high = RANGES.get(name, (0, INT32) if isinstance(number, int) else (-math.inf, math.inf))
    return "" if low <= number <= high else _between(low, high)


def _spelled(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}
    if hint in names:
        return names[hint]
    return str(hint).replace("typing.", "").replace("collections.abc.", "") if typing.get_origin(hint) else f"a {hint.__name__}"


def _between(low: Number, high: Number) -> str:
    return f"at least {low:g}" if math.isinf(high) else f"from {low:g} to {high:,.10g}"


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
