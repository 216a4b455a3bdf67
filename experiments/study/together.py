"""Train many runs as one program, so that small networks use a GPU fully.

`Program` trains a fixed number of runs at once.  They differ only in numbers: seed, learning rate, labelled records, initial weights.  The
records are in the device's memory, and one call trains a hundred steps, so no step waits for the host.  `fleets` trains a table's rows with
it.

A program draws the order of records, and flips, differently from the row's command; everything else is equal.
"""

import concurrent.futures
import contextlib
import functools
import multiprocessing
import os
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from aeseg import keys
from aeseg.data.transforms import HorizontalFlip
from aeseg.inference import evaluate as evaluation
from aeseg.models import ops
from aeseg.runs import programs
from aeseg.runs import scores as scoring
from aeseg.runs.init import with_weights
from aeseg.runs.run import Run
from aeseg.training import mesh as meshes
from aeseg.training import state as states
from aeseg.training import step as steps_of
from aeseg.training.state import TrainState
from aeseg.types import UserError

CHUNK = 100
"""Number of steps per call of a program."""

SCORED_AT_ONCE = 32
"""Number of images per scoring batch, for each member."""

Records = dict[str, Array]


class Member(NamedTuple):
    """One run of a program: its seed, the learning rate of each step, its records, and its initial weights."""

    seed: int
    rates: np.ndarray
    indices: np.ndarray
    start: Mapping[str, Any] | None = None


class Program:
    """Training program of `members` runs like `run`, on records of this device.

    Each member has its own learning rates; the schedule of the run's optimiser is not used.
    """

    def __init__(self, run: Run, records: Records, members: int):
        if [*run.data.transforms] not in ([], [HorizontalFlip()]):
            raise UserError(
                f"Runs in one program support only HorizontalFlip; got transforms {run.data.transforms}. Train the row without --together."
            )
        if run.microbatches > 1 or run.ema:
            raise UserError("Runs in one program support one microbatch and no running mean. Train the row without --together.")
        self.run, self.records, self.members, self._optimiser = run, records, members, programs.without_rate(run.optimiser)
        self._flips = bool(run.data.transforms)
        self._example = {name: array[:1] for name, array in records.items()}

    @functools.cached_property
    def _create(self) -> Any:
        with jax.default_device(jax.local_devices(backend="cpu")[0]):  # each parameter's draw compiles a kernel
            return jax.jit(self.fresh, compiler_options=states.QUICK_TO_COMPILE).lower(self.seeds).compile()

    def fresh(self, seeds: Array) -> TrainState:
        """Return initial states of all members."""
        return jax.vmap(lambda seed: states.initial(self.run.method, self._optimiser, self._example, seed, False))(seeds)

    @functools.cached_property
    def _train(self) -> Any:
        mesh = meshes.create(devices=jax.devices()[:1])
        update = steps_of.update(self.run.method, mesh)

        def one(state: TrainState, batch: Any, seed: Array, rate: Array) -> tuple[TrainState, Array]:
            root = jax.random.key(seed)
            if self._flips:
                batch = flipped(batch, keys.stream(root, "flips", state.step))
            new, terms = update(state, batch, programs.with_rate(self._optimiser, rate), root)
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
        """Return the context for tracing the method: with several members, convolutions become matrix products."""
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

        If there are fewer `members` than the program trains, the last is repeated.  Returns None if `stop` returns True between two chunks.
        """
        (steps,) = {len(member.rates) for member in members}
        if steps % CHUNK:
            raise UserError(f"Runs in one program need a multiple of {CHUNK} steps; got {steps}. Train the row without --together.")
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
            started = [jax.tree.map(lambda leaf, index=index: leaf[index], fresh) for index in range(len(members))]
            with jax.default_device(jax.local_devices(backend="cpu")[0]):
                for index, member in enumerate(members):
                    if member.start is not None:
                        started[index] = with_weights(jax.tree.map(jnp.asarray, started[index]), member.start, "encoder")[0]
            fresh = jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *started)
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
    """Scores the states of a program's members on the same records: segmenters by their confusion, autoencoders by their mean losses."""

    def __init__(self, program: Program):
        self.run, self.members, self._form = program.run, program.members, program.form
        self._classes = [each.name for each in self.run.data.records("train").classes]
        self._score = jax.jit(jax.vmap(self._confusion if self.run.segments else self._means, in_axes=(0, None)))
        self._variables = jax.eval_shape(lambda seeds: variables_of(program.fresh(seeds)), program.seeds)
        self._compiled: dict[int, Any] = {}

    def compiled(self, batch: Mapping[str, Any]) -> Any:
        """Return the program that scores batches of this size."""
        size = len(batch["image"])
        if size not in self._compiled:
            with self._form():
                self._compiled[size] = self._score.lower(self._variables, batch).compile()
        return self._compiled[size]

    def _confusion(self, variables: Any, batch: Any) -> Array:
        logits = scoring.logits(self.run.method, variables, steps_of.prepare(batch))
        cells = batch["label"] * len(self._classes) + jnp.argmax(logits, axis=-1)
        every = jnp.arange(len(self._classes) ** 2)[None, None, None]
        return jnp.sum(cells[..., None] == every, axis=(0, 1, 2), dtype=jnp.int32).reshape(len(self._classes), -1)

    def _means(self, variables: Any, batch: Any) -> Any:
        return dict(self.run.method.apply(variables, steps_of.prepare(batch), train=False))

    def scores(self, state: TrainState, records: Records) -> list[dict[str, Any]]:
        """Return each member's scores."""
        starts = range(0, len(records["image"]), SCORED_AT_ONCE)
        batches = [{name: array[at : at + SCORED_AT_ONCE] for name, array in records.items()} for at in starts]
        each = [jax.device_get(self.compiled(batch)(variables_of(state), batch)) for batch in batches]
        if self.run.segments:
            return [evaluation.scores(confusion, self._classes) for confusion in np.sum(each, axis=0, dtype=np.int64)]
        sums = functools.reduce(lambda left, right: {name: left[name] + right[name] for name in left}, each)
        values = {name: np.asarray(mean.total) / np.maximum(mean.weight, 1e-12) for name, mean in sums.items()}
        values = {name: value for name, value in values.items() if value.ndim == 1}
        values["loss"] = sum(coefficient * values[name] for name, coefficient in self.run.method.coefficients.items())
        return [{name: float(value[index]) for name, value in values.items()} for index in range(self.members)]


def variables_of(state: TrainState) -> dict[str, Any]:
    """Return the variables of a state."""
    return {"params": state.params, **state.collections}


def load(source: Any, processes: int = 0) -> dict[str, np.ndarray]:
    """Return all records of a source as arrays: image uint8 [n h w c], label uint8 [n h w]."""
    processes = processes or len(os.sched_getaffinity(0))
    bounds = np.linspace(0, len(source), 4 * processes + 1).astype(int)
    with concurrent.futures.ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        parts = list(pool.map(functools.partial(_part, source), bounds[:-1], bounds[1:]))
    return {name: np.concatenate([part[name] for part in parts if part]) for name in parts[-1]}


def on_device(arrays: Mapping[str, np.ndarray]) -> Records:
    """Put records on the device, in a method's input format."""
    records = {name: jnp.asarray(array) for name, array in arrays.items()}
    return {**records, "label": records["label"].astype(jnp.int32)} if "label" in records else records


def _part(source: Any, first: int, last: int) -> dict[str, np.ndarray]:
    records = [source[index] for index in range(first, last)]
    if not records:
        return {}
    arrays = {"image": np.stack([record["image"] for record in records])}
    if "label" in records[0]:
        arrays["label"] = np.stack([record["label"] for record in records]).astype(np.uint8)
    return arrays
