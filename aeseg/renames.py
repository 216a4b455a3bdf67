"""Renamed classes and fields, to read configs of earlier versions.

Results and workdirs keep the config that they were made with.  Whoever moves a class, renames a field or adds a field whose
default changes what is computed writes it down here, once; `spec.build`, the comparison of a workdir with a command, and the
comparison of a recorded result with a table's row read these tables.  An added field whose default is what the code did before
needs no entry.
"""

from collections.abc import Mapping
from typing import Any

RUN, DATA = "aeseg.runs.run:Run", "aeseg.runs.data:Data"

TARGETS: dict[str, str] = {
    **{f"aeseg.masking:{name}": f"aeseg.noises:{name}" for name in ("Gaussian", "SaltAndPepper", "Blur", "Squares")},
    "aeseg.runs.run:Data": DATA,
}
"""Moved classes and functions: the old target -> the new one."""

FIELDS: dict[str, dict[str, str]] = {RUN: {"freeze": "transfer"}}
"""Renamed fields, by (new) target: the old name -> the new one."""

DROPPED: dict[str, tuple[str, ...]] = {RUN: ("epochs", "images", "blr", "decay"), DATA: ("root", "class_table")}
"""Fields that held no argument, by (new) target: other fields were computed from them, and hold the result."""

MEANT: dict[str, dict[str, Any]] = {
    RUN: {"statistics": "pretrained", "position_tables": "kept"},
    "aeseg.models.encoders.resnet:ResNet": {"initialiser": "he", "zero_last": False},
}
"""What the code did while a field did not exist, by (new) target, if that is not the field's default today."""


def updated(node: Any) -> Any:
    """Return a plain config (dicts, lists, numbers) with current names at every depth; other parts are unchanged.

    A field of `MEANT` that is absent gets the value that the code meant.
    """
    if isinstance(node, list | tuple):
        return [updated(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    fields = {name: updated(value) for name, value in node.items()}
    target = TARGETS.get(str(node.get("target")), node.get("target"))
    if isinstance(target, str):
        fields["target"] = target
        renamed, dropped = FIELDS.get(target, {}), DROPPED.get(target, ())
        fields = {renamed.get(name, name): value for name, value in fields.items() if name not in dropped}
        fields = {**fields, **{name: value for name, value in MEANT.get(target, {}).items() if name not in fields}}
    return fields


def updated_run(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plain config of a run with current names; a config without a target at the top is older than `Run`."""
    fields = dict(config)
    if "target" not in fields and isinstance(fields.get("data"), Mapping):
        fields = {"target": RUN, **fields, "data": {"target": DATA, **fields["data"]}}
    return updated(fields)
