"""Estimated cost of the remaining rows of a table, from shapes only, without data.  `tables --plan` prints it."""

import functools
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from aeseg import tree
from aeseg.runs import transfer
from aeseg.runs.example import config_example
from aeseg.spec import build, from_json, to_json
from aeseg.training import mesh as meshes
from aeseg.training import state as states
from aeseg.training import step, trace

from ..machine import commands
from ..machine.provenance import provenance
from ..recorded import measurements
from ..recorded.descriptions import configured
from ..recorded.rows import Row
from . import training

SIDE = 2048
"""Side of the matrices whose product is timed if no run was measured."""


class Needs(NamedTuple):
    """The cost of a row's run: FLOPs of a step, steps, parameters, and bytes of a step on one device."""

    steps: int
    flops: int
    parameters: int
    bytes: int

    @property
    def total(self) -> int:
        """Return the FLOPs of the run."""
        return self.steps * self.flops


def markdown(table: str, paper: Any, extra: Mapping[str, object], jobs: int, runs: str) -> str:
    """Format each row with remaining seeds: the cost of a step, the minutes of a run, and the total."""
    missing = training.wanted(table, paper, runs)
    todo = [(row, seed) for row, seed in missing if row.command != "evaluate"]
    if not todo:
        return f"{table}: {'every row is trained; what is left is to score' if missing else 'every row and seed is measured'}."
    commands.take_share(jobs)
    device = provenance()["device"]
    rows = {row.name: row for row in paper.ROWS if row.command != "evaluate"}
    needs = {name: needed(config_of(row, rows, extra)) for name, row in rows.items()}
    ids = measurements.matching(table, tuple(rows.values()))
    rates = recorded_rates(ids, needs, measurements.lines(table), device)
    probed = 0.0 if rates else probe()
    cells, total = ["| | seeds | steps | GFLOPs a step | parameters | GB at most | minutes a run |", "|---|---|---|---|---|---|---|"], 0.0
    for name in dict.fromkeys(row.name for row, _ in todo):
        seeds, need = [seed for row, seed in todo if row.name == name], needs[name]
        minutes = need.total / (rate(name, rates) or probed) / 60
        total += minutes * len(seeds)
        numbers = f"{need.flops / 1e9:.1f} | {need.parameters:,} | {need.bytes / 2**30:.2f} | {minutes:.1f}"
        cells.append(f"| {name} | {', '.join(map(str, seeds))} | {need.steps} | {numbers} |")
    said = (
        f"the seconds of {len(rates)} measured rows of this table on this device"
        if rates
        else f"a product of matrices here ({probed / 1e9:.0f} GFLOP/s): no run is faster"
    )
    return "\n".join([*cells, "", f"{total / jobs / 60:.1f} hours in all, {jobs} at once, on {device}; minutes by {said}."])


def config_of(row: Row, rows: Mapping[str, Row], extra: Mapping[str, object]) -> ConfigDict:
    """Return the config that the row's entry point trains: with the encoder of its pretraining row, and set up for its `transfer`."""
    config = configured(row, extra)
    if row.init:
        with config.unlocked():
            config.method.encoder = config_of(rows[row.init], rows, extra).method.encoder
    if row.command == "segment":
        transfer.chosen(config, (lambda state: (state, [])) if row.init else None)
    return config


def needed(config: ConfigDict) -> Needs:
    """Trace the config's train step for its whole batch on one device; rows that differ only in data are traced once."""
    parts = {name: config[name] for name in ("method", "optimiser", "microbatches", "batch_size", "window", "ema")}
    entries = {name: (array.dtype.name, *array.shape[1:]) for name, array in config_example(config).items()}
    return Needs(config.steps, *_traced(to_json(ConfigDict({**parts, "entries": entries}))))


@functools.cache
def _traced(described: str) -> tuple[int, int, int]:
    """Return (FLOPs of a step, parameters, bytes) of a config's parts, given as JSON."""
    parts = from_json(described)
    row = {name: np.zeros((1, *shape), dtype) for name, (dtype, *shape) in parts.entries.items()}
    batch = {name: jax.ShapeDtypeStruct((parts.batch_size, *shape), dtype) for name, (dtype, *shape) in parts.entries.items()}
    method, optimiser = build(parts.method), build(parts.optimiser)
    state = states.shapes(method, optimiser, row, 0, parts.ema > 0)
    train_step = step.train_step(method, optimiser, meshes.create(devices=jax.devices()[:1]), parts.microbatches, 0, parts.ema)
    traced = jax.make_jaxpr(train_step)(state, batch).jaxpr
    return trace.flops(traced), tree.count(state.params), trace.most_bytes(traced)


def recorded_rates(
    ids: Mapping[str, Collection[str]], needs: Mapping[str, Needs], measured: Sequence[Mapping[str, Any]], device: str
) -> dict[str, list[float]]:
    """Return FLOPs per second, by row, of runs on this device whose config is one of the row's `ids`, evaluation included."""
    rates: dict[str, list[float]] = {}
    for line in measured:
        if line["device"] == device and line["config"] in ids.get(line["row"], ()) and line["seconds"]:
            rates.setdefault(line["row"], []).append(needs[line["row"]].total / line["seconds"])
    return rates


def rate(row: str, rates: Mapping[str, Sequence[float]]) -> float:
    """Return the median FLOPs per second of the row's runs, or else of all rows' runs; 0 without runs."""
    values = rates.get(row) or [each for some in rates.values() for each in some]
    return float(np.median(values)) if values else 0.0


def probe() -> float:
    """Return FLOPs per second of a matrix product on all devices, the best of five."""
    product = jax.jit(jnp.matmul)
    matrix = jnp.ones((SIDE, SIDE), jnp.float32)
    product(matrix, matrix).block_until_ready()
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        product(matrix, matrix).block_until_ready()
        seconds.append(time.perf_counter() - began)
    return 2 * SIDE**3 / min(seconds) * jax.device_count()
