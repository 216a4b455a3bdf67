"""Tables: one file each, found by its name; a row is a run of an entry point with its own config."""

from collections.abc import Mapping
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

from aeseg.types import UserError

SCALES = ("cpu", "paper")
"""What a laptop trains, and what the paper trained: two tables, whose numbers never stand side by side."""


class Row(NamedTuple):
    """One line of a table.

    `command` is pretrain or segment, `config` what --config takes, `overrides` the fields set on top of it; `init` names
    the row whose encoder it starts from, or all of it where it continues (the same seed's); `compare` the row that it is
    compared with, seed by seed.  `command` evaluate trains nothing: the run of `init` is scored once more, otherwise.
    `paper` holds what was published, in % by metric; `tolerance` how many points our mean may be away from it, `citation`
    where it stands.  `best` scores the checkpoint that was best on validation, by the config's `best`, and not the last;
    `batch_statistics` with batch norm by the statistics of each image itself, and not the running averages.
    """

    name: str
    command: str
    config: str
    overrides: dict[str, object] = {}  # noqa: RUF012 (never changed)
    init: str = ""
    compare: str = ""
    paper: dict[str, float] = {}  # noqa: RUF012 (never changed)
    tolerance: float = 0.0
    citation: str = ""
    scale: str = "cpu"
    best: bool = False
    batch_statistics: bool = False


def at_scale(paper: ModuleType, scale: str) -> SimpleNamespace:
    """The table with its rows of one scale; where its TITLE, SEEDS or NOTE differ by scale, they are dicts by scale.

    A scale without rows is a UserError.
    """
    chosen = {name: value for name, value in vars(paper).items() if name.isupper()}
    chosen["ROWS"] = tuple(row for row in paper.ROWS if row.scale == scale)
    if not chosen["ROWS"]:
        there = sorted({row.scale for row in paper.ROWS})
        raise UserError(f"{paper.TITLE!r} has rows of scale {', '.join(there)}; got {scale!r}. Set --scale to one of these.")
    for name in ("TITLE", "SEEDS", "NOTE"):
        if isinstance(chosen.get(name), dict):
            chosen[name] = chosen[name][scale]
    return SimpleNamespace(**chosen)


def over_labels(
    pretrain: str,
    segment: str,
    methods: Mapping[str, str],
    shares: Mapping[str, float],
    tuned: Mapping[str, Mapping[str, Any]],
    common: Mapping[str, Any],
    scale: str = "cpu",
    ending: str = "",
) -> tuple[Row, ...]:
    """Every method's pretraining; then, for each share of the labels, the network from scratch and from each method's encoder.

    All are segmented by the config `segment` with the fields `common`, and each method is compared with scratch at its share.
    `pretrain` has a place for the method's file name, `methods` and `shares` map names to what is called by them, `tuned` holds fields
    of a method's pretraining; `ending` is that of all names.  Which records are labelled is drawn by the seed, for all alike
    (`aeseg.data.wrappers.Subset`).
    """
    rows = [Row(f"{method}{ending}", "pretrain", pretrain.format(method), dict(tuned.get(method, {})), scale=scale) for method in methods]
    for share, fraction in shares.items():
        fields = {**common, "data.fraction": fraction}
        scratch = Row(f"scratch, {share}{ending}", "segment", segment, {**fields, "freeze": "scratch"}, scale=scale)
        rows.append(scratch)
        for method, name in methods.items():
            rows.append(Row(f"{name}, {share}{ending}", "segment", segment, fields, f"{method}{ending}", scratch.name, scale=scale))
    return tuple(rows)


def trials(
    pretrain: str,
    segment: str,
    methods: Mapping[str, str],
    fields: Mapping[str, Any],
    tried: Mapping[str, Mapping[str, Mapping[str, Any]]],
    scratch: Mapping[str, Mapping[str, Any]],
    then: Mapping[str, tuple[str, Mapping[str, Any]]],
) -> tuple[Row, ...]:
    """Equally many trials for each method and for the network from scratch, to be scored on the validation set.

    `tried` holds the fields of each method's pretrainings by their names, which are segmented with the same `fields`; `scratch` those of
    the segmentations from scratch, by theirs.  `then` has one trial more of each method: a pretraining of `tried`, and what it is
    segmented with besides.
    """
    rows = [Row(f"scratch, {name}", "segment", segment, {**fields, "freeze": "scratch", **each}) for name, each in scratch.items()]
    for method, of_method in tried.items():
        name = "{} pretraining, {}".format
        rows += (Row(name(method, trial), "pretrain", pretrain.format(method), dict(each)) for trial, each in of_method.items())
        rows += (Row(f"{methods[method]}, {trial}", "segment", segment, dict(fields), name(method, trial)) for trial in of_method)
        if method in then:
            trial, more = then[method]
            said = ", ".join(f"{field.rpartition('.')[2].replace('_', ' ')} {value:g}" for field, value in more.items())
            rows.append(Row(f"{methods[method]}, {trial}, then {said}", "segment", segment, {**fields, **more}, name(method, trial)))
    return tuple(rows)
