"""Tables of results, one per file; the file name is the table's name.  A row runs a command with a config and its changes."""

import fnmatch
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any

from aeseg.types import UserError

from ..recorded.rows import Row

SCALES = ("cpu", "gpu", "paper")
"""Scales of a table: a laptop, a few minutes of a GPU, and the paper.  Each scale is a separate table."""

METHODS = {"reconstruction": "reconstruction", "denoising": "denoising", "spark": "SparK", "fcmae": "FCMAE"}
"""{file name: display name} of the methods in tables over label fractions; all pretrain the encoder `convnet`."""

LATENT = {"variational": "variational", "quantised": "quantised"}
"""{file name: display name} of the methods that pretrain the same encoder and are not tuned."""

COLOUR: dict[str, object] = {"method.target_mean": (), "method.target_std": (), "method.content": 0.0}
"""Fields of the recorded pretrainings on DRIVE with SparK and FCMAE.  As in the papers' code, all channels have one mean and std, and every
hidden unit counts.  The config `drive` corrects both; without these fields, the rows would be measured again."""

FIXED_POSITIONS: dict[str, object] = {"position_tables": "kept"}
"""Field of the recorded rows of vision transformers with fixed positions.  Without it, the rows would be measured again."""

RATE = "optimiser.learning_rate"
RATES = (5e-4, 2e-3, 6e-3, 1.2e-2)
"""Learning rates of the trials from scratch in `tuning`."""


def on_demand(module: str, rows: Callable[[], tuple[Row, ...]]) -> Callable[[str], tuple[Row, ...]]:
    """Return the `__getattr__` of a table whose ROWS depend on recorded results: `rows` runs when ROWS is read."""

    def attribute(name: str) -> tuple[Row, ...]:
        if name != "ROWS":
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return rows()

    return attribute


def selected(rows: Sequence[Row], pattern: str) -> tuple[Row, ...]:
    """Return the rows whose name matches a pattern with * and ?, and the rows that they start from; UserError if there are none."""
    chosen = {row.name for row in rows if fnmatch.fnmatchcase(row.name, pattern)}
    if not chosen:
        known = "; ".join(row.name for row in rows)
        raise UserError(f"Expected a pattern of row names; no row matches {pattern!r}. Set --rows to match some of {known}.")
    return with_starts(rows, chosen)


def with_starts(rows: Sequence[Row], names: Collection[str]) -> tuple[Row, ...]:
    """Return the rows of these names and the rows that they start from, in their order."""
    starts = {row.name: row.init for row in rows}
    chosen = set(names)
    for name in names:
        while name := starts[name]:
            chosen.add(name)
    return tuple(row for row in rows if row.name in chosen)


def at_scale(paper: ModuleType, scale: str) -> SimpleNamespace:
    """Return the table with the rows of one scale, and its TITLE, SEEDS and NOTE, which may be dicts by scale.

    Raises UserError for a scale without rows.
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
    fractions: Mapping[str, float],
    tuned: Mapping[str, Mapping[str, Any]],
    rates: Mapping[str, float],
    common: Mapping[str, Any],
    scale: str = "cpu",
    ending: str = "",
    methods: Mapping[str, str] | None = None,
) -> tuple[Row, ...]:
    """Return rows that pretrain each method and, per label fraction, segment from scratch and from each method's encoder.

    All rows segment with the config `segment` and the fields `common`. Each method is compared with scratch at the same fraction. The seed
    draws the labelled records, which are the same for all methods (`aeseg.data.wrappers.Subset`).

    pretrain   config of a pretraining, with {} in place of the method's file name
    fractions  label fractions by name
    tuned      fields of a method's pretraining
    rates      learning rates of the segmentation that replace the config's, by method or "scratch"
    ending     suffix of all names
    methods    {file name: display name} of the methods; default METHODS
    """
    methods = METHODS if methods is None else methods
    rows = [Row(f"{method}{ending}", "pretrain", pretrain.format(method), dict(tuned.get(method, {})), scale=scale) for method in methods]
    for label, fraction in fractions.items():
        fields = {**common, "data.fraction": fraction}
        tuned_fields = {name: {**fields, RATE: rates[name]} if name in rates else fields for name in ("scratch", *methods)}
        scratch = Row(f"scratch, {label}{ending}", "segment", segment, {**tuned_fields["scratch"], "transfer": "scratch"}, scale=scale)
        rows.append(scratch)
        for method, name in methods.items():
            rows.append(
                Row(f"{name}, {label}{ending}", "segment", segment, tuned_fields[method], f"{method}{ending}", scratch.name, scale=scale)
            )
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

    From scratch, the trials are the learning rates RATES of the segmentation. A method has three pretrainings: with its config, with a
    quarter of the config's learning rate, and with its fields in `harder`, a harder task. A segmentation with the same
    `fields` starts from each. The fourth trial, in `then`, repeats the segmentation from one of them with another learning rate. All rows
    get the fields `everywhere`; all pretrainings of a method get its fields in `given`.

    `longer` (a method and a number of steps) adds rows named "why", which are not trials. Some train only the head, on each method's
    encoder in `then` and on a random encoder. The others test whether that method gains from lower learning rates in lower layers, or from
    a pretraining of that number of steps, four times its own.
    """
    fields = {**everywhere, **fields}
    trials = {method: {"as it is": {}, "rate 0.0005": {RATE: 5e-4}, harder[method][0]: harder[method][1]} for method in METHODS}
    pretrained = {method: {trial: {**given.get(method, {}), **each} for trial, each in trials[method].items()} for method in METHODS}
    at = {method: {**fields, RATE: rate} for method, (_, rate) in then.items()}
    best = {method: f"{method} pretraining, {trial}" for method, (trial, _) in then.items()}
    rows = [Row(f"scratch, rate {rate:g}", "segment", segment, {**fields, "transfer": "scratch", RATE: rate}) for rate in RATES]
    for method, shown in METHODS.items():
        starts = {trial: f"{method} pretraining, {trial}" for trial in pretrained[method]}
        rows += (
            Row(starts[trial], "pretrain", pretrain.format(method), {**everywhere, **each}) for trial, each in pretrained[method].items()
        )
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
            # Since revision 1 the encoder's bottleneck is a separate layer; before, it had the head's learning rate.
            Row(f"{why}, lower layers slower", "segment", segment, {**at[method], "optimiser.layer_decay": 0.6}, best[method], revision=1),
            Row(long, "pretrain", pretrain.format(method), {**everywhere, **pretrained[method][then[method][0]], "steps": steps}),
            Row(f"{why}, four times as long", "segment", segment, at[method], long),
        )
    return tuple(rows)
