"""Tiny runs of three kinds.  Two runs are equal if their last states and logged numbers are equal bit by bit."""

import json
import os
import random
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aeseg import jsonlines, spec
from aeseg.training.stored import saved_steps

from ..console import cli
from .worker import Lost, Worker

KINDS = {"denoiser": "scenes:denoising,tiny", "mae": "scenes:masked,tiny", "segmenter": "scenes:linear,convnet,tiny"}
"""Config name of each kind of run."""

STEPS = 12
SIDE = 16
"""Height and width of an image."""

SECONDS = 300.0
"""Time limit of a run.  A run takes seconds; compiling it takes up to a minute on a busy machine."""


class Whole(NamedTuple):
    """An uninterrupted run: config, workdir, results (see `left`), and seconds without compilation."""

    config: str
    workdir: str
    left: dict[str, Any]
    seconds: float


def config(kind: str) -> str:
    """Return the config of a kind of run as JSON: log and save every step, evaluate every third."""
    node = cli.load_config(KINDS[kind])
    for split in ("train", "validation", "test"):
        for field in ("height", "width", "records"):
            node.data[split][field] = SIDE
    node.data.fraction, node.window, node.batch_size, node.steps = 1.0, (SIDE, SIDE), 8, STEPS
    node.log_every, node.evaluate_every, node.save_every = 1, 3, 1
    return spec.to_json(node)


def programs(folder: str) -> dict[str, str]:
    """Return the environment of processes that share what they compile, below a folder."""
    return {"JAX_COMPILATION_CACHE_DIR": os.path.join(folder, "programs"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}


class Bench:
    """State shared by the parts of a soak: the worker, and the uninterrupted runs, which are trained on first use."""

    def __init__(self, folder: str, environment: Mapping[str, str]):
        self.folder, self.environment = folder, environment
        self.worker = Worker(os.path.join(folder, "worker.log"), environment)
        self._whole: dict[str, Whole] = {}

    def whole(self, kind: str) -> Whole:
        """Return the uninterrupted run of a kind; train it on first use."""
        if kind not in self._whole:
            self._whole[kind] = _whole(self.worker, kind, os.path.join(self.folder, "whole"))
        return self._whole[kind]


class Setting(NamedTuple):
    """Setting of a part: its seed, scale ("full" or "reduced"), folder, and the shared bench."""

    seed: int
    scale: str
    folder: str
    bench: Bench

    def dice(self, name: str) -> random.Random:
        """Return the random generator of a case, seeded by the part's seed and the case's name."""
        return random.Random(f"{self.seed} {name}")


def _whole(worker: Worker, kind: str, folder: str) -> Whole:
    """Train the uninterrupted run of a kind twice: first to compile it, then to time it.  Raise Lost if it fails."""
    text = config(kind)
    for name in ("compiled", "whole"):
        path = os.path.join(folder, f"{kind}-{name}")
        shutil.rmtree(path, ignore_errors=True)
        began = time.monotonic()
        answer = worker.ask({"do": "train", "config": text, "workdir": path}, SECONDS)
        if answer["code"] or answer["traceback"]:
            raise Lost(f"the uninterrupted {kind} failed: {answer['said']}{answer['traceback']}")
    seconds = time.monotonic() - began
    return Whole(text, path, left(path), seconds)


def resumed(worker: Worker, run: Whole, path: str) -> tuple[str, ...]:
    """Resume the run in a workdir to its end; return a sentence for each difference from the uninterrupted run."""
    try:
        answer = worker.ask({"do": "train", "config": run.config, "workdir": path}, SECONDS)
    except Lost as lost:
        return (f"resuming: {lost}",)
    if answer["code"] or answer["traceback"]:
        return (f"resuming ended with {answer['code']}: {_last(answer['traceback'] or answer['said'])}",)
    return differences(run.left, left(path))


def left(path: str) -> dict[str, Any]:
    """Return the results of a run: its last step, the checksums of that state's leaves, and the rows of metrics.jsonl."""
    checkpoints = os.path.join(path, "checkpoints")
    last = max(saved_steps(checkpoints), default=-1)
    with open(os.path.join(checkpoints, str(last), "meta", "metadata"), encoding="utf-8") as file:
        checksums = json.load(file)["crc32"]
    return {"step": last, "state": checksums, "rows": jsonlines.read(os.path.join(path, "metrics.jsonl"))}


def differences(wanted: dict[str, Any], got: dict[str, Any]) -> tuple[str, ...]:
    """Return a sentence for each difference between two runs."""
    sentences = [f"its last step is {got['step']}, not {wanted['step']}"] if got["step"] != wanted["step"] else []
    if got["state"] != wanted["state"]:
        wrong = [name for name, checksum in wanted["state"].items() if got["state"].get(name) != checksum]
        sentences.append(f"{len(wrong)} leaves of the state differ, such as {wrong[:1]}")
    if got["rows"] != wanted["rows"]:
        pairs = [(row["step"], row) for row in got["rows"] if row not in wanted["rows"]]
        sentences.append(f"metrics.jsonl has {len(got['rows'])} rows, not {len(wanted['rows'])}; first difference: {pairs[:1]}")
    return tuple(sentences)


def refusal(answer: dict[str, Any], codes: Sequence[int] = (2,), lines: int = 40) -> str:
    """Return what is wrong in the refusal of a bad input; "" for a short message and one of the exit codes."""
    if answer["traceback"]:
        return f"traceback: {_last(answer['traceback'])}"
    if "Traceback (most recent call last)" in answer["said"]:
        return f"prints a traceback: {_last(answer['said'])}"
    if answer["code"] not in codes:
        return f"exit code {answer['code']}, expected {' or '.join(map(str, codes))}"
    said = answer["said"].strip().rpartition("\n\n")[2]
    return "" if 0 < len(said.splitlines()) <= lines else f"expected a sentence; got {said[:200]!r}"


def _last(text: str) -> str:
    return text.strip().rpartition("\n")[2][:300]
