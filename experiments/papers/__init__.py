"""Tables, one per file, found by file name. A row is a run of a command with its own config."""

from collections.abc import Mapping
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any, NamedTuple

from aeseg.types import UserError

SCALES = ("cpu", "gpu", "paper")
"""Scale of a laptop, of some minutes of a GPU, and of the paper: three tables, never mixed."""

METHODS = {"reconstruction": "reconstruction", "denoising": "denoising", "spark": "SparK", "fcmae": "FCMAE"}
"""{file name: display name} of the methods in tables over label fractions; all pretrain the encoder `convnet`."""

COLOUR: dict[str, object] = {"method.target_mean": (), "method.target_std": (), "method.content": 0.0}
"""Fields of the recorded pretrainings on DRIVE by SparK and FCMAE: one mean and std for all channels, every hidden unit counts, as in the
papers' code. The config `drive` corrects both; rows without these fields are measured anew."""

FIXED_POSITIONS: dict[str, object] = {"position_tables": "kept"}
"""Field of the recorded rows with a vision transformer, whose fixed positions were not trained; without it they are measured anew."""

RATE, RATES = "optimiser.learning_rate", (5e-4, 2e-3, 6e-3, 1.2e-2)


class Row(NamedTuple):
    """One row of a table.

    command               pretrain or segment; evaluate scores the run of `init` again with other settings
    config, overrides     value of --config, and the fields set on top of it
    init                  row, of the same seed, whose encoder the run starts from, or whose whole model it continues
    compare               row to compare with, seed by seed
    paper                 published values in %, by metric
    tolerance             largest accepted distance, in points, of our mean from the published value
    citation              source of the published values
    best                  score the best checkpoint on validation, by the config's `best`, instead of the last
    batch_statistics      score with batch norm statistics of each image instead of running averages
    reference_boundaries  also score boundaries by SegNet's own script
    lighting              also score lit and dark images apart
    revision              increment if the code changes what this row computes although its config is the same: measures it again
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
    lighting: bool = False
    revision: int = 0


def at_scale(paper: ModuleType, scale: str) -> SimpleNamespace:
    """Return the table with the rows of one scale, and its TITLE, SEEDS and NOTE, which may be dicts by scale.

    Raises UserError if the scale has no rows.
    """
    chosen = {name: value for name, value in vars(paper).items() if name.isupper()}
    chosen["ROWS"] = tuple(row for row in paper.ROWS if row.scale == scale)
    if not chosen["ROWS"]:
        scales = sorted({row.scale for row in paper.ROWS})
        raise UserError(f"{paper.TITLE!r} has rows of scale {', '.join(scales)}; got {scale!r}. Set --scale to one of these.")
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
    """Return rows that pretrain each method and, per label fraction, segment from scratch and from each method's encoder.

    All segment by the config `segment` with the fields `common`. Each method is compared with scratch at the same fraction. The seed
    draws the labelled records, the same for all methods (`aeseg.data.wrappers.Subset`).

    pretrain   config of a pretraining, with {} for the file name of the method
    shares     label fractions by name
    tuned      fields of a method's pretraining
    rates      learning rates of the segmentation that differ from the config, by method or "scratch"
    ending     suffix of all names
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
    given: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> tuple[Row, ...]:
    """Return the rows that tune a table over label fractions: four trials per method and from scratch, scored on validation.

    From scratch, the trials are the learning rates RATES of the segmentation. A method has three pretrainings: by its config, with a
    quarter of the config's learning rate, and with the fields of `harder`, a harder task. Each is segmented with the same `fields`.
    Its fourth trial, in `then`, is the name of one of the three with another learning rate of the segmentation. All rows get the
    fields `everywhere`, and all pretrainings of a method its fields in `given`.

    With `longer` (a method and a number of steps), rows named "why" follow, which are not trials. They train only the head, on each
    method's encoder of `then` and on a random encoder; and they test whether more of a pretraining is kept by lower learning rates in
    lower layers, or by pretraining that method for so many steps, four times its own.
    """
    fields = {**everywhere, **fields}
    trials = {method: {"as it is": {}, "rate 0.0005": {RATE: 5e-4}, harder[method][0]: harder[method][1]} for method in METHODS}
    tried = {method: {trial: {**given.get(method, {}), **each} for trial, each in trials[method].items()} for method in METHODS}
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
            # Since revision 1 the encoder's bottleneck is a layer of its own; before, it had the head's rate.
            Row(f"{why}, lower layers slower", "segment", segment, {**at[method], "optimiser.layer_decay": 0.6}, best[method], revision=1),
            Row(long, "pretrain", pretrain.format(method), {**everywhere, **tried[method][then[method][0]], "steps": steps}),
            Row(f"{why}, four times as long", "segment", segment, at[method], long),
        )
    return tuple(rows)
