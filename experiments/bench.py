"""Benchmark training steps of aeseg and of PyTorch in alternation, from the same weights on the same batch.

python -m experiments.bench                     all networks, 10 pairs of steps each; needs two extras: pip install -e '.[bench,cpu]'
python -m experiments.bench --form=xla          without oneDNN (aeseg/models/onednn.py); plain: with XLA's own convolutions, pooling and
                                                upsampling, to measure the gain of `layers`
python -m experiments.bench --instructions=avx2   on a CPU with AVX-512: both sides use AVX2 alone, as on a smaller CPU
python -m experiments.bench --loading=camvid_small:unet   time that loading adds to a config's steps (experiments/benches/loading.py)
python -m experiments.bench --start=pretrain,segment   time until the first step, without and with compiled programs in the cache
python -m experiments.bench --record            also appends the rows to experiments/results/bench.jsonl

denoiser      the default network of `pretrain`, 64 x 64, batch 16; segmenter: of `segment`, batch 8 (experiments/benches/small.py)
autoencoder   the reference's, 64-128-256 channels, 256 x 256, batch 4, binary cross-entropy, Adam
unet          64 to 1024 channels, 128 x 128, batch 4, cross-entropy of 11 classes, Adam
segnet        SegNet-Basic, 180 x 240, batch 4; densenet: FC-DenseNet56, 224 x 224, batch 3 (experiments/benches/published.py)
mae           width 192, 224 x 224, batch 16, against ViTMAE of `transformers` (experiments/benches/mae.py)
fcmae         ConvNeXt V2 atto, 224 x 224, batch 8; spark: ResNet-50, likewise (experiments/benches/sparse.py)
*-predict-*   prediction of 360 x 480 in sliding windows, 1 or 8 at a time (experiments/benches/inference.py)

A pair is one step of each, one after the other, so that other load on the machine affects both.  The ratio is PyTorch's seconds over
aeseg's: above 1, aeseg is faster.  Before timing, the losses of the first steps must agree.  Each side has a process of its own: aeseg's
reuses freed memory as its commands do (aeseg/training/memory.py), PyTorch's is as it comes.  PyTorch gets the fastest of its settings:
fused Adam (AdamW and clipping in the first two); channels_last or contiguous memory; and torch.compile, except for autoencoder, unet,
fcmae and spark.  Both call oneDNN: PyTorch contains it, the extra `cpu` brings it to aeseg.  --memory then runs each side in a process of
its own, and measures that process's largest resident memory, compilation included.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aeseg.models import onednn
from aeseg.training import memory
from aeseg.types import UserError

from .benches import convolutional, inference, loading, mae, published, small, sparse, starting
from .console import cli
from .machine.provenance import provenance
from .recorded import measurements

MODULES: dict[str, Any] = {name: module for module in (small, convolutional, published, mae, sparse, inference) for name in module.NETWORKS}
"""{network: its module}"""
FORMS = ("fast", "xla", "plain")
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
"""Variables that keep oneDNN, PyTorch and MKL from AVX-512; XLA has a flag."""

CLIP, DECAY = 1.0, 0.05
"""Largest norm of the gradient, and weight decay of the kernels, in the default commands."""

Step = Callable[[], float]
"""Takes a step and returns its loss."""

OURS = "aeseg"

CHECKED = 3
"""Number of steps whose losses are compared before timing; they also compile and warm up."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    flags = cli.parse(
        argv,
        __doc__,
        networks=(",".join(MODULES), "networks, joined by commas"),
        pairs=(10, "pairs of steps to time, or with --start number of cold and warm starts"),
        form=("fast", "fast: as aeseg trains; xla: without oneDNN; plain: XLA's own operations"),
        instructions=("", "avx2: neither side uses later instructions"),
        size=(0, "height of the images; 0: the size above"),
        memory=(False, "also measure the memory of each side"),
        loading=("", "config whose steps are timed with and without the loader instead"),
        start=("", "commands whose time until the first step is measured instead: pretrain,segment"),
        record=(False, "append the rows to experiments/results/bench.jsonl"),
    )
    names = flags.networks.split(",")
    for name in names:
        if name not in MODULES:
            raise UserError(f"The networks are {', '.join(MODULES)}; got {name!r}. Set --networks to some of these.")
    if flags.form not in FORMS:
        raise UserError(f"The forms are {', '.join(FORMS)}; got {flags.form!r}. Set --form to one of these.")
    if flags.pairs < 1:
        raise UserError(f"Expected at least one pair of steps; got --pairs={flags.pairs}.")
    if flags.instructions not in ("", "avx2"):
        raise UserError(f"Expected --instructions=avx2 or none; got {flags.instructions!r}.")
    limit = {"instructions": flags.instructions} if flags.instructions else {}
    with limited() if limit else contextlib.nullcontext():
        for row in _rows(flags, names):
            if flags.record:
                measurements.append("bench", row | limit)
    return 0


def _rows(flags: Any, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Measure what the flags name; print and yield a row of each."""
    if flags.form == "fast":
        onednn.enable()  # the rows name its version
    if flags.loading:
        row = loading.measured(flags.loading, cli.load_config(flags.loading), flags.pairs) | provenance()
        print(
            f"{flags.loading}: loading adds {100 * row['share']:.1f} % to a step (quartiles {100 * row['low']:.1f} to "
            f"{100 * row['high']:.1f} %); a step takes {row['seconds']:.3f} s with loading, {row['seconds_without']:.3f} s without"
        )
        yield row
        return
    if flags.start:
        yield from _started(flags)
        return
    imported_torch()
    for name in names:
        size = flags.size or MODULES[name].NETWORKS[name][0]
        with apart(name, size, flags.form) as both:
            row = measured(name, size, flags.pairs, flags.form, *both)
        if flags.memory:
            row |= {key: peak_of(name, size, flags.form, side) for key, side in (("gb", ""), ("torch_gb", row["torch_format"]))}
        print(
            f"{name}: {row['ratio']:.2f}x as fast as PyTorch (quartiles {row['low']:.2f} to {row['high']:.2f}); "
            f"a step takes {row['seconds']:.3f} s, PyTorch's {row['torch_seconds']:.3f} s ({row['torch_format']})"
            + (f"; {row['gb']:.2f} GB, PyTorch {row['torch_gb']:.2f} GB" if flags.memory else "")
        )
        yield row


def _started(flags: Any) -> Iterator[dict[str, Any]]:
    """Measure commands until their first step; print and yield a row of each."""
    for command in flags.start.split(","):
        if command not in starting.COMMANDS:
            raise UserError(f"Expected --start to name some of {', '.join(starting.COMMANDS)}; got {command!r}.")
        row = starting.measured(command, flags.pairs) | provenance()
        print(f"{command}: the first step ends after {row['cold']:.1f} s, and after {row['warm']:.1f} s with its programs in the cache")
        yield row


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Keep processes that start inside the block from instructions later than AVX2.

    They compile PyTorch's programs anew: torch.compile's own cache would return programs with AVX-512, which then fail.
    """
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        xla = f"{before.get('XLA_FLAGS', '')} --xla_cpu_max_isa=AVX2"
        os.environ.update(AVX2, XLA_FLAGS=xla, TORCHINDUCTOR_CACHE_DIR=folder)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def measured(name: str, size: int, pairs: int, form: str, ours: Step, candidates: dict[str, Step]) -> dict[str, Any]:
    """Measure one network; return its row of medians, with the quartiles of the ratio.  For `ours` and `candidates` see `sides`."""
    losses = [ours() for _ in range(CHECKED)]
    for theirs in candidates.values():
        check(name, losses, [theirs() for _ in range(CHECKED)])
    chosen = min(candidates, key=lambda key: min(seconds(candidates[key]) for _ in range(2)))
    times = np.array([(seconds(ours), seconds(candidates[chosen])) for _ in range(pairs)])
    low, ratio, high = np.quantile(times[:, 1] / times[:, 0], (0.25, 0.5, 0.75))
    return {
        "network": name,
        "form": form,
        "size": size,
        "batch": MODULES[name].NETWORKS[name][1],
        "ratio": round(float(ratio), 3),
        "low": round(float(low), 3),
        "high": round(float(high), 3),
        "seconds": round(float(np.median(times[:, 0])), 4),
        "torch_seconds": round(float(np.median(times[:, 1])), 4),
        "torch_format": chosen,
        "pairs": pairs,
        "loss": losses[-1],
        **provenance(("jax", "flax", "torch", "transformers") if name.startswith(("mae", "segformer")) else ("jax", "flax", "torch")),
    }


def sides(torch: Any, name: str, size: int, form: str) -> tuple[Step, dict[str, Step]]:
    """Return functions that take a step and return its loss: ours, and PyTorch's by form."""
    if form == "fast":
        onednn.enable()
    module = MODULES[name]
    if module is inference:
        step, candidates = inference.steps(torch, name, size)
    else:
        loss, params, twins = module.networks(torch, name, size)
        step = jax_step(loss, params, module.RATE, module is small)
        candidates = {each: torch_step(torch, *theirs, module.RATE, module is small) for each, theirs in twins.items()}

    def ours() -> float:
        with convolutional.plain_layers() if form == "plain" else contextlib.nullcontext():
            return step()

    return ours, candidates


@contextlib.contextmanager
def apart(name: str, size: int, form: str) -> Iterator[tuple[Step, dict[str, Step]]]:
    """Return the `sides`, each in a process of its own, which ends with the block."""
    code = f"from {__package__} import bench; bench.serve({name!r}, {size}, {form!r}, mine=%s)"

    def side(mine: bool) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", code % mine], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    with side(mine=True) as ours, side(mine=False) as theirs:  # each ends when its input does
        yield _steps(name, ours)[OURS], _steps(name, theirs)


def _steps(name: str, process: subprocess.Popen[str]) -> dict[str, Step]:
    def answered(request: str = "") -> str:
        if request:
            print(request, file=process.stdin, flush=True)
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise UserError(f"The process of {name} ended with {process.wait()}; its error is above.")
        return line.rstrip("\n")

    return {key: lambda key=key: float(answered(key)) for key in json.loads(answered())}  # type: ignore[misc]


def serve(name: str, size: int, form: str, mine: bool) -> None:
    """Print the names of one side's steps; for each name that comes on the standard input, take that step and print its loss."""
    if mine:
        memory.share_heap()
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # compilers print, too
        ours, candidates = sides(imported_torch(), name, size, form)
        steps = {OURS: ours} if mine else candidates
        print(json.dumps(list(steps)), file=answers, flush=True)
        for number, line in enumerate(sys.stdin):
            print(steps[line.rstrip("\n")](), file=answers, flush=True)
            if mine and number == 0:
                memory.keep_freed()


def peak_of(name: str, size: int, form: str, side: str) -> float:
    """Return the largest resident memory, in GB, of a process that takes steps of one side: ours (""), or a form of PyTorch."""
    code = f"from {__package__} import bench; bench.stepped({name!r}, {size}, {form!r}, {side!r})"
    finished = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return round(float(finished.stdout.splitlines()[-1]), 3)


def stepped(name: str, size: int, form: str, side: str) -> None:
    """Take steps of one side, and print the largest resident memory of this process in GB."""
    ours, candidates = sides(imported_torch(), name, size, form)
    step = candidates[side] if side else ours
    for _ in range(CHECKED):
        step()
    print(memory.peak() / 1e9)


def jax_step(loss: Callable[[Any], jax.Array], params: Any, rate: float, decays: bool = False) -> Callable[[], float]:
    """Return a function that trains one step and returns its loss: with Adam, or as the default commands, with AdamW and clipping."""
    optimiser = optax.adam(rate)
    if decays:
        adamw = optax.adamw(rate, weight_decay=DECAY, mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params))
        optimiser = optax.chain(optax.clip_by_global_norm(CLIP), adamw)

    def update(params: Any, state: Any) -> tuple[Any, Any, jax.Array]:
        value, gradient = jax.value_and_grad(loss)(params)
        change, state = optimiser.update(gradient, state, params)
        return optax.apply_updates(params, change), state, value

    jitted = jax.jit(update, donate_argnums=(0, 1))
    carried = [jax.tree.map(jnp.copy, params), optimiser.init(params)]

    def step() -> float:
        *carried[:], value = jitted(*carried)
        jax.block_until_ready(carried)
        return float(value)

    return step


def torch_step(torch: Any, loss: Callable[[], Any], parameters: Sequence[Any], rate: float, decays: bool = False) -> Callable[[], float]:
    """Return the same in PyTorch, with its fused optimisers."""
    optimiser = torch.optim.Adam(parameters, lr=rate, fused=True)
    if decays:
        groups = [
            {"params": [each for each in parameters if (each.dim() > 1) == kernels], "weight_decay": DECAY * kernels}
            for kernels in (True, False)
        ]
        optimiser = torch.optim.AdamW(groups, lr=rate, fused=True)

    def step() -> float:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        if decays:
            torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimiser.step()
        return float(value.item())

    return step


def check(name: str, ours: Sequence[float], theirs: Sequence[float]) -> None:
    """Raise AssertionError if the losses differ."""
    if not np.allclose(ours, theirs, rtol=2e-3):
        raise AssertionError(f"{name}: the losses of the first steps differ: {ours}, and in PyTorch {theirs}.")


def seconds(step: Callable[[], float]) -> float:
    """Return the seconds of one step."""
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def imported_torch() -> Any:
    """Return PyTorch, which only this command needs."""
    try:
        import torch
    except ImportError:
        raise UserError("The comparison needs PyTorch, which is not installed. Install it: pip install -e '.[bench]'.") from None
    if jax.default_backend() != "cpu":
        raise UserError(f"Expected JAX on the CPU, where both are compared; it runs on {jax.default_backend()}. Set JAX_PLATFORMS=cpu.")
    return torch


if __name__ == "__main__":
    cli.main(run)
