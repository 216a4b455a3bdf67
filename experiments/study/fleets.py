"""Train a table's rows in shared programs (`together`), in the order of the table's TIERS, until the minutes are over."""

import concurrent.futures
import functools
import json
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from aeseg import files, jsonlines, spec, tree
from aeseg.data import wrappers
from aeseg.runs import programs
from aeseg.runs.run import Run

from ..machine.provenance import provenance
from ..papers import RATE
from ..recorded import descriptions, measurements
from ..recorded.descriptions import configured
from ..recorded.rows import Row
from . import training
from .together import CHUNK, SCORED_AT_ONCE, Member, Program, Records, Scorer, load, on_device, variables_of

MEMBERS = 25
"""Number of segmentations that a program trains at once."""

PRETRAININGS = 5
"""Number of transformer pretrainings per program: on a GPU, kernel launches dominate their steps. Other pretrainings run one by one."""

OWN = ("steps", "evaluate_every", "save_every", "data.fraction", "transfer", RATE, "optimiser.schedule", "optimiser.warmup")
"""Fields that may differ between the members of a program."""


class Workshop:
    """Resources shared by a table's runs: records on the device, programs, and weights of finished pretrainings (in `folder`)."""

    def __init__(self, folder: str, say: Callable[[str], None], members: int = MEMBERS):
        self.folder, self.say, self.members = folder, say, members
        self._records: dict[str, Records] = {}
        self._programs: dict[str, concurrent.futures.Future[tuple[Program, Scorer]]] = {}
        self._pool = concurrent.futures.ThreadPoolExecutor(3)  # tracing is serial: more threads would delay the first program
        os.makedirs(folder, exist_ok=True)

    def records(self, run: Run, split: str) -> Records:
        """Return all records of a split, on the device."""
        source = run.data.records(split)
        name = repr(source)
        if name not in self._records:
            path = os.path.join(self.folder, f"records-{zlib.crc32(name.encode()):08x}.npz")
            if not os.path.exists(path):
                began = time.perf_counter()
                _write(path, load(source))
                self.say(f"{len(source):,} {split} records loaded in {time.perf_counter() - began:.0f} s")
            with np.load(path) as arrays:
                self._records[name] = on_device({name: arrays[name] for name in arrays})
        kept = ("image", "label") if run.segments else ("image",)
        return {name: array for name, array in self._records[name].items() if name in kept}

    def members_of(self, row: Row) -> int:
        """Return the number of runs that the program of a row trains at once."""
        run = _shared_run(row)
        return self.members if run.segments else PRETRAININGS if hasattr(run.method.encoder, "patch") else 1

    def prepare(self, row: Row) -> None:
        """Start to compile a row's program in a thread."""
        name = likeness(row)
        if name not in self._programs:
            run = _shared_run(row)
            program = Program(run, self.records(run, "train"), self.members_of(row))
            self._programs[name] = self._pool.submit(self._compiled, program, row.name)

    def _compiled(self, program: Program, name: str) -> tuple[Program, Scorer]:
        self.say(f"compiled the program of {name} in {program.compiled():.0f} s")
        scorer = Scorer(program)
        scorer.compiled({name: array[:SCORED_AT_ONCE] for name, array in program.records.items()})
        return program, scorer

    def program(self, row: Row) -> tuple[Program, Scorer]:
        """Return the program of a row, and the scorer of its members."""
        return self._programs[likeness(row)].result()

    def weights(self, name: str, seed: int) -> str:
        """Return the file of a pretraining's weights."""
        return os.path.join(self.folder, f"{name}-{seed}.npz".replace(" ", "-").replace(",", ""))

    def keep(self, name: str, seed: int, variables: Mapping[str, Any]) -> None:
        """Write a pretraining's weights."""
        leaves = {path.replace("/", "|"): np.asarray(leaf) for path, leaf in tree.flatten(dict(variables)).items()}
        _write(self.weights(name, seed), leaves)

    def start(self, name: str, seed: int) -> dict[str, Any]:
        """Read a pretraining's weights."""
        with np.load(self.weights(name, seed)) as arrays:
            return tree.unflatten({path.replace("|", "/"): arrays[path] for path in arrays})


def measure(table: str, paper: Any, workshop: Workshop, deadline: float, tiers: slice = slice(None)) -> None:
    """Train and score the missing rows and seeds of some tiers until the deadline; append each result to <folder>/<table>.jsonl."""
    raw = os.path.join(workshop.folder, f"{table}.jsonl")
    for members in missing(table, paper, workshop, tiers):
        first, more = members[0][0], f" and {len(members) - 1} more" if len(members) > 1 else ""
        if lacking := {
            f"{row.init}, seed {seed}" for row, seed in members if row.init and not os.path.exists(workshop.weights(row.init, seed))
        }:
            workshop.say(f"[{table}] {first.name}{more}: left out without {'; '.join(sorted(lacking))}")
            continue
        (program, scorer), began = workshop.program(first), time.perf_counter()
        trained = program.train([_member(row, seed, workshop, program) for row, seed in members], lambda: time.time() > deadline)
        if trained is None:
            workshop.say(f"[{table}] the minutes are over in {first.name}{more}; the same command continues")
            return
        (state, losses), seconds = trained, time.perf_counter() - began
        scores = scorer.scores(state, workshop.records(program.run, paper.SPLIT))
        for index, (row, seed) in enumerate(members):
            if row.command == "pretrain":
                workshop.keep(row.name, seed, jax.tree.map(lambda leaf, index=index: leaf[index], jax.device_get(variables_of(state))))
            numbers, curve = training.numbers(scores[index]), [float(f"{loss[index]:.4g}") for loss in losses]
            line = {"row": row.name, "seed": seed, "split": paper.SPLIT, "numbers": numbers, "seconds": round(seconds / len(members), 2)}
            jsonlines.write(raw, {**line, "losses": curve, "together": len(members), **_provenance()})
        metric = "mean_iou" if "mean_iou" in scores[0] else "loss"
        ends = f"{metric} {min(score[metric] for score in scores):.3f} to {max(score[metric] for score in scores[: len(members)]):.3f}"
        step, scoring = 1000 * seconds / len(losses) / CHUNK, time.perf_counter() - began - seconds
        workshop.say(f"[{table}] {first.name}{more}: {seconds:.1f} s, {step:.2f} ms per step, {scoring:.1f} s of scoring, {ends}")


def missing(table: str, paper: Any, workshop: Workshop, tiers: slice = slice(None)) -> list[list[tuple[Row, int]]]:
    """Return the rows and seeds without a result, grouped by program; start to compile the programs."""
    lines = [*jsonlines.read(os.path.join(workshop.folder, f"{table}.jsonl")), *measurements.current(table, paper)]
    fleets = list(_fleets(paper, paper.TIERS[tiers], {(line["row"], line["seed"]) for line in lines}, workshop))
    for members in fleets:
        workshop.prepare(members[0][0])
    return fleets


def record(table: str, paper: Any, folder: str) -> int:
    """Append the results of `measure` in `folder` to the table's results; return the number of new lines."""
    recorded = {(line["row"], line["seed"]) for line in measurements.current(table, paper)}
    described, ids = descriptions.described(paper.ROWS), {}
    path = descriptions.config_file(measurements.RESULTS, table)
    new = [line for line in jsonlines.read(os.path.join(folder, f"{table}.jsonl")) if (line["row"], line["seed"]) not in recorded]
    for line in new:
        if line["row"] not in ids:
            ids[line["row"]] = descriptions.store(path, described[line["row"]])
        kept = {name: value for name, value in line.items() if name != "losses"}
        measurements.append(table, {**kept, "config": ids[line["row"]]})
    return len(new)


@functools.cache
def _provenance() -> dict[str, Any]:
    return provenance()


def _fleets(paper: Any, tiers: Any, measured: set[tuple[str, int]], workshop: Workshop) -> Iterator[list[tuple[Row, int]]]:
    """Yield groups of rows and seeds to train at once, tier by tier, each after its pretrainings."""
    rows, taken = {row.name: row for row in paper.ROWS}, set(measured)
    for names, seeds in tiers:
        wanted = [(rows[name], seed) for seed in range(seeds) for name in names if (name, seed) not in taken]
        starts = dict.fromkeys((row.init, seed) for row, seed in wanted if row.init)
        starts = {each: None for each in starts if each not in taken or not os.path.exists(workshop.weights(*each))}
        taken |= {(row.name, seed) for row, seed in wanted} | starts.keys()
        together: dict[tuple[str, int], list[tuple[Row, int]]] = {}
        for row, seed in [*((rows[name], seed) for name, seed in starts), *wanted]:
            together.setdefault((likeness(row), len(_rates(row))), []).append((row, seed))
        for members in sorted(together.values(), key=lambda each: each[0][0].command):  # pretrainings first
            at_once = workshop.members_of(members[0][0])
            yield from (members[first : first + at_once] for first in range(0, len(members), at_once))


def _member(row: Row, seed: int, workshop: Workshop, program: Program) -> Member:
    source, shared = program.run.data.records("train"), program.run.config
    fraction = float(row.overrides.get("data.fraction", shared.data.get("fraction", 1.0)))  # type: ignore[arg-type]
    indices = np.arange(len(source)) if fraction == 1 else wrappers.Subset(source, fraction, seed).kept
    start = workshop.start(row.init, seed) if row.init and row.overrides.get("transfer") != "scratch" else None
    return Member(seed, _rates(row), indices, start)


def _rates(row: Row) -> np.ndarray:
    """Return the learning rate of each step of a row."""
    return _schedule(row.config, tuple((name, value) for name, value in row.overrides.items() if name.startswith(("steps", "optimiser."))))


@functools.cache
def _schedule(config: str, overrides: tuple[tuple[str, Any], ...]) -> np.ndarray:
    node = configured(Row("", "", config, dict(overrides)), {})
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        return programs.rates(spec.build(node.optimiser), node.steps)


def _plain(row: Row) -> Row:
    """Return the row without the fields that may differ between members of a program."""
    own = {name: value for name, value in row.overrides.items() if name not in OWN}
    return row._replace(overrides=own, init="", name="", compare="")


@functools.cache
def _shared(command: str, config: str, overrides: tuple[tuple[str, Any], ...]) -> Run:
    return spec.build_run(configured(Row("", command, config, dict(overrides)), {}))


def _shared_run(row: Row) -> Run:
    plain = _plain(row)
    return _shared(plain.command, plain.config, tuple(plain.overrides.items()))


def likeness(row: Row) -> str:
    """Return a text that is equal for rows of the same program."""
    plain = _plain(row)
    return json.dumps([plain.command, plain.config, plain.overrides], sort_keys=True)


def _write(path: str, arrays: Mapping[str, np.ndarray]) -> None:
    with files.replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
