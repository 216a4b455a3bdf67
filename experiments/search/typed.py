"""Convert a space to a config's full field names and types; refuse fields that change how trials are compared."""

from typing import Any

from aeseg import spec
from aeseg.runs.run import is_segmenter
from aeseg.types import UserError

from ..console import cli
from ..recorded.descriptions import assignments
from .space import Axis, Range, Space

FIXED = ("seed", "best", "data.source", "data.validation", "data.test", "data.evaluation_transforms", "data.on_error")
"""Fields that must be equal in all trials, or their scores would not be comparable.  The window of an autoencoder must also be equal: it
is scored on the central window of each image (a segmenter on complete images)."""


def typed(space: Space, flags: Any) -> Space:
    """Convert the fields of a space to full names, and its values to their types in the config of the flags."""
    return Space(tuple(tuple(_axis(axis, flags) for axis in axes) for axes in space.products))


def _axis(axis: Axis, flags: Any) -> Axis:
    if not isinstance(axis, Range):
        names = {field: cli.field_name(field, flags.config) for point in axis for field in point}
        return tuple({names[field]: _value(names[field], value, flags) for field, value in point.items()} for point in axis)
    field = cli.field_name(axis.field, flags.config)
    low, high = (_value(field, bound, flags) for bound in (axis.low, axis.high))
    if isinstance(low, bool) or not isinstance(low, int | float):
        raise UserError(f"A range needs numbers; {field} is {low!r} for {axis.low}. List its values: {field}=value,value.")
    return Range(field, low, high, axis.log)


def _value(field: str, value: Any, flags: Any) -> Any:
    """Convert a value as the entry point will; UserError if it has another type, or changes how trials are compared."""
    config = flags.config
    words = assignments({**flags.overrides, field: value})
    try:
        parsed = cli.parse(["sweep", *words], "", config=flags.config_name)
    except UserError:
        now = cli.value_at(config, field)
        kind = type(now).__name__
        raise UserError(
            f"Expected a value of {field} of type {kind}, such as {now!r}; got {value!r} in the space. Correct --space."
        ) from None
    fixed = FIXED if is_segmenter(config) else (*FIXED, "window")
    pairs = {f"config.{name}": (cli.value_at(config, name), cli.value_at(parsed.config, name)) for name in fixed}
    changed = [line for name, (before, after) in pairs.items() for line in spec.differences(before, after, name)]
    if changed:
        raise UserError(
            "Trials are compared by one metric, measured in the same way on one validation set, over --seeds; "
            f"{field} changes {changed[0]}. Leave it out; --config.{field} sets it for all trials."
        )
    return parsed.overrides[field]
