"""Tables: one file each, found by its name; a row is a run of an entry point with its own config."""

from collections.abc import Mapping
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any, NamedTuple

from aeseg.types import UserError

SCALES = ("cpu", "paper")
"""What a laptop trains, and what the paper trained: two tables, whose numbers never stand side by side."""

METHODS = {"reconstruction": "reconstruction", "denoising": "denoising", "spark": "SparK", "fcmae": "FCMAE"}
"""What tables over the labels compare, by the name of its file: all pretrain one encoder, `convnet`."""

RATE, RATES = "optimiser.learning_rate", (5e-4, 2e-3, 6e-3, 1.2e-2)


class Row(NamedTuple):
    """One line of a table.

    `command` is pretrain or segment, `config` what --config takes, `overrides` the fields set on top of it; `init` names
    the row whose encoder it starts from, or all of it where it continues (the same seed's); `compare` the row that it is
    compared with, seed by seed.  `command` evaluate trains nothing: the run of `init` is scored once more, otherwise.
    `paper` holds what was published, in % by metric; `tolerance` how many points our mean may be away from it, `citation`
    where it stands.  `best` scores the checkpoint that was best on validation, by the config's `best`, and not the last;
    `batch_statistics` with batch norm by the statistics of each image itself, and not the running averages; `reference_boundaries`
    also scores the borders as SegNet's own script.  `revision` is raised where what this row alone runs computes something else than
    before, though its config is the same: it is then measured anew.
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
    reference_boundaries: bool = False
    revision: int = 0


def at_scale(paper: ModuleType, scale: str) -> SimpleNamespace:
    """The table with its rows of one scale; where its TITLE, SEEDS or NOTE differ by scale, they are dicts by scale (NOTE of some).

    A scale without rows is a UserError.
    """
    chosen = {name: value for name, value in vars(paper).items() if name.isupper()}
    chosen["ROWS"] = tuple(row for row in paper.ROWS if row.scale == scale)
    if not chosen["ROWS"]:
        there = sorted({row.scale for row in paper.ROWS})
        raise UserError(f"{paper.TITLE!r} has rows of scale {', '.join(there)}; got {scale!r}. Set --scale to one of these.")
    for name in ("TITLE", "SEEDS", "NOTE"):
        if isinstance(chosen.get(name), dict):
            chosen[name] = chosen[name].get(scale, "") if name == "NOTE" else chosen[name][scale]
    return SimpleNamespace(**chosen)


def over_labels(
    pretrain: str,
    segment: str,
    shares: Mapping[str, float],
    tuned: Mapping[str, Mapping[str, Any]],
    rates: Mapping[str, float],
    common: Mapping[str, Any],
    scale: str = "cpu",
    ending: str = "",
) -> tuple[Row, ...]:
    """Every method's pretraining; then, for each share of the labels, the network from scratch and from each method's encoder.

    All are segmented by the config `segment` with the fields `common`, and each method is compared with scratch at its share.
    `pretrain` has a place for the method's file name, `shares` are the shares by their names, `tuned` holds fields of a method's
    pretraining, `rates` the learning rates of the segmentation where they are not the config's, by method or "scratch"; `ending` is
    that of all names.  Which records are labelled is drawn by the seed, for all alike (`aeseg.data.wrappers.Subset`).
    """
    rows = [Row(f"{method}{ending}", "pretrain", pretrain.format(method), dict(tuned.get(method, {})), scale=scale) for method in METHODS]
    for share, fraction in shares.items():
        fields = {**common, "data.fraction": fraction}
        own = {name: {**fields, RATE: rates[name]} if name in rates else fields for name in ("scratch", *METHODS)}
        scratch = Row(f"scratch, {share}{ending}", "segment", segment, {**own["scratch"], "transfer": "scratch"}, scale=scale)
        rows.append(scratch)
        for method, name in METHODS.items():
            rows.append(Row(f"{name}, {share}{ending}", "segment", segment, own[method], f"{method}{ending}", scratch.name, scale=scale))
    return tuple(rows)


def tuning(
    pretrain: str,
    segment: str,
    fields: Mapping[str, Any],
    harder: Mapping[str, tuple[str, Mapping[str, Any]]],
    then: Mapping[str, tuple[str, float]],
    longer: tuple[str, int] | None = None,
    everywhere: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Row, ...]:
    """What a table over labels is tuned by: four trials for each method and for the network from scratch, scored on validation.

    From scratch the rate of the segmentation is one of RATES.  A method pretrains as its config says, with a quarter of the config's
    rate, and with the fields of `harder`, another task, after its name; each is segmented with the same `fields`.  Its fourth trial,
    in `then`, is one of these three by its name, and the rate of the segmentation.  The fields `everywhere` are those of all rows.

    With `longer`, a method and a number of steps, rows "why" come after the trials, and are none: what the encoders know where the
    head alone is trained (each method's pretraining of `then` frozen, beside an encoder frozen as it was drawn), and what keeps more
    of it: that method with lower layers that learn more slowly, and after so many steps of pretraining, four times its own.
    """
    fields = {**everywhere, **fields}
    tried = {method: {"as it is": {}, "rate 0.0005": {RATE: 5e-4}, harder[method][0]: harder[method][1]} for method in METHODS}
    at = {method: {**fields, RATE: rate} for method, (_, rate) in then.items()}
    best = {method: f"{method} pretraining, {trial}" for method, (trial, _) in then.items()}
    rows = [Row(f"scratch, rate {rate:g}", "segment", segment, {**fields, "transfer": "scratch", RATE: rate}) for rate in RATES]
    for method, shown in METHODS.items():
        starts = {trial: f"{method} pretraining, {trial}" for trial in tried[method]}
        rows += (Row(starts[trial], "pretrain", pretrain.format(method), {**everywhere, **each}) for trial, each in tried[method].items())
        rows += (Row(f"{shown}, {trial}", "segment", segment, dict(fields), start) for trial, start in starts.items())
        if method in then:
            trial, rate = then[method]
            rows.append(Row(f"{shown}, {trial}, then rate {rate:g}", "segment", segment, at[method], best[method]))
    if longer:
        method, steps = longer
        why, long = f"why: {METHODS[method]}", f"{method} pretraining, four times as long"
        untrained = {**at[method], "transfer": "scratch", "optimiser.freeze": ("encoder/*",)}
        frozen = {each: {**at[each], "transfer": "linear-probe"} for each in then}
        rows += (
            Row("why: frozen at random", "segment", segment, untrained),
            *(Row(f"why: {METHODS[each]}, frozen", "segment", segment, frozen[each], best[each]) for each in then),
            Row(f"{why}, lower layers slower", "segment", segment, {**at[method], "optimiser.layer_decay": 0.6}, best[method]),
            Row(long, "pretrain", pretrain.format(method), {**everywhere, **tried[method][then[method][0]], "steps": steps}),
            Row(f"{why}, four times as long", "segment", segment, at[method], long),
        )
    return tuple(rows)
