"""Many runs as one program, so that small networks fill a GPU.

Rows and seeds with the same method, steps and batch size differ only in numbers: seed, learning rate, labelled records, initial weights.
`Program` trains a fixed number of runs at once. Its records are in the device's memory, and one call trains a hundred steps, so no step
waits for the host. `measure` trains a table's missing rows this way, in the order of the table's TIERS, until the time is over.

A run of a program and the same row's command see the same records in different orders (and with different flips); all else is equal.
"""

import concurrent.futures
import contextlib
import functools
import json
import multiprocessing
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from aeseg import files, jsonlines, keys, spec, tree
from aeseg.data import wrappers
from aeseg.data.transforms import HorizontalFlip
from aeseg.inference import evaluate as evaluation
from aeseg.models import ops
from aeseg.runs import programs
from aeseg.runs.init import with_weights
from aeseg.runs.run import Run
from aeseg.training import mesh as meshes
from aeseg.training import state as states
from aeseg.training import step as steps_of
from aeseg.training.state import TrainState
from aeseg.types import UserError

from ..machine.provenance import provenance
from ..papers import RATE, Row
from . import descriptions, measurements
from .descriptions import configured

CHUNK = 100
"""Number of steps per call of a program."""

MEMBERS = 25
"""Number of segmentations that a program trains at once."""

PRETRAININGS = 5
"""Number of transformer pretrainings per program: on a GPU, kernel launches dominate their steps. Other pretrainings run one by one."""

SCORED_AT_ONCE = 32
"""Number of images per scoring batch, for each member."""

OWN = ("steps", "evaluate_every", "save_every", "data.fraction", "transfer", RATE)
"""Fields that may differ between the members of a program."""

UNIT: dict[str, object] = {RATE: 1.0, "optimiser.schedule": "constant", "optimiser.warmup": 0}
"""Fields of an optimiser whose learning rate is 1 at every step."""

Records = dict[str, Array]


class Member(NamedTuple):
    """One run of a program: its seed, the learning rate of each step, its records, and its initial weights."""

    seed: int
    rates: np.ndarray
    indices: np.ndarray
    start: Mapping[str, Any] | None = None


class Program:
    """Training program of `members` runs like `run`, on records of this device.

    Each member has its own learning rates, so the optimiser of `run` has learning rate 1 at every step.
    """

    def __init__(self, run: Run, records: Records, members: int):
        if [*run.data.transforms] not in ([], [HorizontalFlip()]):
            raise UserError(f"Runs in one program can be flipped, nothing else; got transforms {run.data.transforms}. Train the row alone.")
        if run.microbatches > 1 or run.ema:
            raise UserError("Runs in one program have one microbatch and no running mean. Train the row alone.")
        if float(run.optimiser.learning_rate(0)) != 1:
            raise UserError("The optimiser of a program has the learning rate 1 at every step. Set learning_rate, schedule and warmup so.")
        self.run, self.records, self.members = run, records, members
        self._flips = bool(run.data.transforms)
        self._example = {name: array[:1] for name, array in records.items()}

    @functools.cached_property
    def _create(self) -> Any:
        with jax.default_device(jax.local_devices(backend="cpu")[0]):  # each parameter's draw compiles a kernel
            return jax.jit(self.fresh, compiler_options=states.QUICK_TO_COMPILE).lower(self.seeds).compile()

    def fresh(self, seeds: Array) -> TrainState:
        """Return initial states of all members."""
        return jax.vmap(lambda seed: states.initial(self.run.method, self.run.optimiser, self._example, seed, False))(seeds)

    @functools.cached_property
    def _train(self) -> Any:
        mesh = meshes.create(devices=jax.devices()[:1])
        update = steps_of.update(self.run.method, mesh)

        def one(state: TrainState, batch: Any, seed: Array, rate: Array) -> tuple[TrainState, Array]:
            root = jax.random.key(seed)
            if self._flips:
                batch = flipped(batch, keys.stream(root, "flips", state.step))
            new, terms = update(state, batch, programs.with_rate(self.run.optimiser, rate), root)
            return new, terms["loss"].value()

        def many(state: Any, records: Records, order: Array, seeds: Array, rates: Array) -> tuple[Any, Array]:
            def step(state: Any, rows_and_rates: tuple[Array, Array]) -> tuple[Any, Array]:
                rows, rates = rows_and_rates
                return jax.vmap(one)(state, {name: array[rows] for name, array in records.items()}, seeds, rates)

            state, losses = jax.lax.scan(step, state, (order, rates))
            return state, jnp.mean(losses, axis=0)

        state = jax.eval_shape(self.fresh, self.seeds)
        order = jax.ShapeDtypeStruct((CHUNK, self.members, self.run.batch_size), jnp.int32)
        rates = jax.ShapeDtypeStruct((CHUNK, self.members), jnp.float32)
        with self.form():
            return jax.jit(many, donate_argnums=0).lower(state, self.records, order, self.seeds, rates).compile()

    def form(self) -> contextlib.AbstractContextManager[None]:
        """Return the context for tracing the method: convolutions of several members become matrix products."""
        return ops.as_products() if self.members > 1 else contextlib.nullcontext()

    @property
    def seeds(self) -> jax.ShapeDtypeStruct:
        """Return the shape of the argument of `fresh`."""
        return jax.ShapeDtypeStruct((self.members,), jnp.uint32)

    def compiled(self) -> float:
        """Compile the programs of `train`; return the seconds."""
        began = time.perf_counter()
        _ = self._create, self._train
        return time.perf_counter() - began

    def train(self, members: Sequence[Member], stop: Callable[[], bool] = lambda: False) -> tuple[Any, np.ndarray] | None:
        """Train the members; return their states, stacked, and the mean losses of each chunk [chunks members].

        If there are fewer `members` than the program trains, the last member is repeated. None if `stop` returns True between two chunks.
        """
        (steps,) = {len(member.rates) for member in members}
        if steps % CHUNK:
            raise UserError(f"Runs in one program have a multiple of {CHUNK} steps; got {steps}. Train the row alone.")
        filled = [*members, *[members[-1]] * (self.members - len(members))]
        seeds = np.array([member.seed for member in filled], np.uint32)
        state = self._started(jax.device_get(self._create(seeds)), filled)
        orders = np.stack([order(member, steps, self.run.batch_size) for member in filled], axis=1)
        rates = np.stack([member.rates for member in filled], axis=1).astype(np.float32)
        losses = []
        for first in range(0, steps, CHUNK):
            if stop():
                return None
            part = slice(first, first + CHUNK)
            state, loss = self._train(state, self.records, jnp.asarray(orders[part]), jnp.asarray(seeds), jnp.asarray(rates[part]))
            losses.append(loss)
            if len(losses) > 2:
                jax.block_until_ready(losses[-2])  # so that `stop` knows the time
        return jax.block_until_ready(state), np.stack(jax.device_get(losses))

    def _started(self, fresh: Any, members: Sequence[Member]) -> Any:
        """Return the initial states on the device, with each member's encoder loaded."""
        if any(member.start for member in members):
            begun = [jax.tree.map(lambda leaf, place=place: leaf[place], fresh) for place in range(len(members))]
            with jax.default_device(jax.local_devices(backend="cpu")[0]):
                for place, member in enumerate(members):
                    if member.start is not None:
                        begun[place] = with_weights(jax.tree.map(jnp.asarray, begun[place]), member.start, "encoder")[0]
            fresh = jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *begun)
        return jax.tree.map(jnp.asarray, fresh)


def flipped(batch: Mapping[str, Array], key: Array) -> dict[str, Array]:
    """Flip each record of the batch with probability 1/2."""
    chosen = jax.random.bernoulli(key, 0.5, (len(batch["image"]),))

    def one(array: Array) -> Array:
        return jnp.where(chosen.reshape(-1, *(1,) * (array.ndim - 1)), jnp.flip(array, axis=2), array)

    return {name: one(array) for name, array in batch.items()}


def order(member: Member, steps: int, batch: int) -> Int[np.ndarray, "steps batch"]:
    """Return the records of each step: passes over the member's records, each in a new order."""
    rng = np.random.default_rng((member.seed, zlib.crc32(b"order")))
    passes = -(-steps * batch // len(member.indices))
    rows = rng.permuted(np.tile(member.indices.astype(np.int32), (passes, 1)), axis=1)
    return rows.ravel()[: steps * batch].reshape(steps, batch)


class Scorer:
    """Scores the states of a program's members on the same records: segmenters by confusion, autoencoders by their means."""

    def __init__(self, program: Program):
        self.run, self.members, self._form = program.run, program.members, program.form
        self._classes = [each.name for each in self.run.data.records("train").classes]
        self._score = jax.jit(jax.vmap(self._confusion if self.run.segments else self._means, in_axes=(0, None)))
        self._variables = jax.eval_shape(lambda seeds: _variables(program.fresh(seeds)), program.seeds)
        self._compiled: dict[int, Any] = {}

    def compiled(self, batch: Mapping[str, Any]) -> Any:
        """Return the program that scores batches of this size."""
        size = len(batch["image"])
        if size not in self._compiled:
            with self._form():
                self._compiled[size] = self._score.lower(self._variables, batch).compile()
        return self._compiled[size]

    def _confusion(self, variables: Any, batch: Any) -> Array:
        logits = self.run.method.apply(variables, steps_of.prepare(batch)["image"], method="predict")
        cells = batch["label"] * len(self._classes) + jnp.argmax(logits, axis=-1)
        every = jnp.arange(len(self._classes) ** 2)[None, None, None]
        return jnp.sum(cells[..., None] == every, axis=(0, 1, 2), dtype=jnp.int32).reshape(len(self._classes), -1)

    def _means(self, variables: Any, batch: Any) -> Any:
        return dict(self.run.method.apply(variables, steps_of.prepare(batch), train=False))

    def scores(self, state: TrainState, records: Records) -> list[dict[str, Any]]:
        """Return each member's scores."""
        starts = range(0, len(records["image"]), SCORED_AT_ONCE)
        batches = [{name: array[at : at + SCORED_AT_ONCE] for name, array in records.items()} for at in starts]
        each = [jax.device_get(self.compiled(batch)(_variables(state), batch)) for batch in batches]
        if self.run.segments:
            return [evaluation.scores(confusion, self._classes) for confusion in np.sum(each, axis=0, dtype=np.int64)]
        sums = functools.reduce(lambda left, right: {name: left[name] + right[name] for name in left}, each)
        values = {name: np.asarray(mean.total) / np.maximum(mean.weight, 1e-12) for name, mean in sums.items()}
        values = {name: value for name, value in values.items() if value.ndim == 1}
        values["loss"] = sum(coefficient * values[name] for name, coefficient in self.run.method.coefficients.items())
        return [{name: float(value[place]) for name, value in values.items()} for place in range(self.members)]


def _variables(state: TrainState) -> dict[str, Any]:
    return {"params": state.params, **state.collections}


def load(source: Any, processes: int = 0) -> dict[str, np.ndarray]:
    """Return all records of a source as arrays: image uint8 [n h w c], label uint8 [n h w]."""
    processes = processes or len(os.sched_getaffinity(0))
    bounds = np.linspace(0, len(source), 4 * processes + 1).astype(int)
    with concurrent.futures.ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        parts = list(pool.map(functools.partial(_part, source), bounds[:-1], bounds[1:]))
    return {name: np.concatenate([part[name] for part in parts if part]) for name in parts[-1]}


def on_device(arrays: Mapping[str, np.ndarray]) -> Records:
    """Return records in a method's input format, in the device's memory."""
    placed = {name: jnp.asarray(array) for name, array in arrays.items()}
    return {**placed, "label": placed["label"].astype(jnp.int32)} if "label" in placed else placed


def _part(source: Any, first: int, last: int) -> dict[str, np.ndarray]:
    records = [source[index] for index in range(first, last)]
    if not records:
        return {}
    arrays = {"image": np.stack([record["image"] for record in records])}
    if "label" in records[0]:
        arrays["label"] = np.stack([record["label"] for record in records]).astype(np.uint8)
    return arrays


class Workshop:
    """Resources that the runs of a table share: records on the device, programs, and weights of finished pretrainings (in `folder`)."""

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
                self.say(f"{len(source):,} {split} records after {time.perf_counter() - began:.0f} s")
            with np.load(path) as arrays:
                self._records[name] = on_device({name: arrays[name] for name in arrays})
        kept = ("image", "label") if run.segments else ("image",)
        return {name: array for name, array in self._records[name].items() if name in kept}

    def places(self, row: Row) -> int:
        """Return the number of runs that the program of a row trains at once."""
        run = _shared_run(row)
        return self.members if run.segments else PRETRAININGS if hasattr(run.method.encoder, "patch") else 1

    def prepare(self, row: Row) -> None:
        """Compile a row's program in a thread."""
        name = likeness(row)
        if name not in self._programs:
            run = _shared_run(row)
            program = Program(run, self.records(run, "train"), self.places(row))
            self._programs[name] = self._pool.submit(self._compiled, program, row.name)

    def _compiled(self, program: Program, name: str) -> tuple[Program, Scorer]:
        self.say(f"the program of {name} is compiled after {program.compiled():.0f} s")
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
    """Train and score the missing rows and seeds of some tiers until the deadline; each result is a line of <folder>/<table>.jsonl."""
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
            workshop.say(f"[{table}] the minutes are over in {first.name}{more}; the same command goes on")
            return
        (state, losses), seconds = trained, time.perf_counter() - began
        scores = scorer.scores(state, workshop.records(program.run, paper.SPLIT))
        for place, (row, seed) in enumerate(members):
            if row.command == "pretrain":
                workshop.keep(row.name, seed, jax.tree.map(lambda leaf, place=place: leaf[place], jax.device_get(_variables(state))))
            numbers, curve = measurements.numbers(scores[place]), [float(f"{loss[place]:.4g}") for loss in losses]
            line = {"row": row.name, "seed": seed, "split": paper.SPLIT, "numbers": numbers, "seconds": round(seconds / len(members), 2)}
            jsonlines.write(raw, {**line, "losses": curve, "together": len(members), **_provenance()})
        metric = "mean_iou" if "mean_iou" in scores[0] else "loss"
        ends = f"{metric} {min(score[metric] for score in scores):.3f} to {max(score[metric] for score in scores[: len(members)]):.3f}"
        step, scoring = 1000 * seconds / len(losses) / CHUNK, time.perf_counter() - began - seconds
        workshop.say(f"[{table}] {first.name}{more}: {seconds:.1f} s, {step:.2f} ms a step, {scoring:.1f} s to score, {ends}")


def missing(table: str, paper: Any, workshop: Workshop, tiers: slice = slice(None)) -> list[list[tuple[Row, int]]]:
    """Return the rows and seeds without a result, grouped by program, and start to compile the programs."""
    lines = [*jsonlines.read(os.path.join(workshop.folder, f"{table}.jsonl")), *measurements.current(table, paper)]
    fleets = list(_fleets(paper, paper.TIERS[tiers], {(line["row"], line["seed"]) for line in lines}, workshop))
    for members in fleets:
        workshop.prepare(members[0][0])
    return fleets


def record(table: str, paper: Any, folder: str) -> int:
    """Add the results of `measure` in its folder to the table's results; return the number of new lines."""
    there = {(line["row"], line["seed"]) for line in measurements.current(table, paper)}
    described, ids = descriptions.described(paper.ROWS), {}
    path = descriptions.config_file(measurements.RESULTS, table)
    new = [line for line in jsonlines.read(os.path.join(folder, f"{table}.jsonl")) if (line["row"], line["seed"]) not in there]
    for line in new:
        if line["row"] not in ids:
            ids[line["row"]] = descriptions.store(path, described[line["row"]])
        kept = {name: value for name, value in line.items() if name != "losses"}
        measurements.append(table, {**kept, "config": ids[line["row"]]})
    return len(new)


@functools.cache
def _provenance() -> dict[str, Any]:
    return provenance()


def _fleets(paper: Any, tiers: Any, there: set[tuple[str, int]], workshop: Workshop) -> Iterator[list[tuple[Row, int]]]:
    """Yield the rows and seeds that are trained at once, tier by tier, each after its pretrainings."""
    rows, taken = {row.name: row for row in paper.ROWS}, set(there)
    for names, seeds in tiers:
        wanted = [(rows[name], seed) for seed in range(seeds) for name in names if (name, seed) not in taken]
        starts = dict.fromkeys((row.init, seed) for row, seed in wanted if row.init)
        starts = {each: None for each in starts if each not in taken or not os.path.exists(workshop.weights(*each))}
        taken |= {(row.name, seed) for row, seed in wanted} | starts.keys()
        together: dict[tuple[str, int], list[tuple[Row, int]]] = {}
        for row, seed in [*((rows[name], seed) for name, seed in starts), *wanted]:
            together.setdefault((likeness(row), len(_rates(row))), []).append((row, seed))
        for members in sorted(together.values(), key=lambda each: each[0][0].command):  # pretrainings first
            at_once = workshop.places(members[0][0])
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
    described = configured(Row("", "", config, dict(overrides)), {})
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        return programs.rates(spec.build(described.optimiser), described.steps)


def _plain(row: Row) -> Row:
    """Return the row without the fields that may differ between members of a program."""
    own = {name: value for name, value in row.overrides.items() if name not in OWN}
    return row._replace(overrides={**own, **UNIT}, init="", name="", compare="")


@functools.cache
def _shared(likeness: str, command: str, config: str, overrides: tuple[tuple[str, Any], ...]) -> Run:
    return spec.build_run(configured(Row("", command, config, dict(overrides)), {}))


def _shared_run(row: Row) -> Run:
    plain = _plain(row)
    return _shared("", plain.command, plain.config, tuple(plain.overrides.items()))


def likeness(row: Row) -> str:
    """Return a text that is equal for rows of the same program."""
    plain = _plain(row)
    return json.dumps([plain.command, plain.config, plain.overrides], sort_keys=True)


def _write(path: str, arrays: Mapping[str, np.ndarray]) -> None:
    with files.replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
