"""Both sides of the benchmark: steps of aeseg and of PyTorch, in processes of their own.

aeseg's process reuses freed memory as its commands do (aeseg/training/memory.py); PyTorch's is as it comes.
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
import optax

from aeseg.models import onednn
from aeseg.training import memory
from aeseg.types import UserError

from . import convolutional, inference, mae, published, small, sparse

MODULES: dict[str, Any] = {name: module for module in (small, convolutional, published, mae, sparse, inference) for name in module.NETWORKS}
"""{network: its module}"""
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
"""Variables that keep oneDNN, PyTorch and MKL from AVX-512; XLA has a flag."""

CLIP, DECAY = 1.0, 0.05
"""Largest norm of the gradient, and weight decay of the kernels, in the default commands."""

Step = Callable[[], float]
"""Takes a step and returns its loss."""

Timed = Callable[[int], tuple[float, float]]
"""Takes that many steps, one after the other; returns the last one's loss and the mean seconds of a step."""

OURS = "aeseg"

CHECKED = 3
"""Number of steps whose losses are compared before timing; they also compile and warm up."""


def both(torch: Any, name: str, size: int, form: str) -> tuple[Step, dict[str, Step]]:
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


def timed(step: Step) -> Timed:
    """Return the function that takes and times such steps."""

    def steps(count: int) -> tuple[float, float]:
        began = time.perf_counter()
        for _ in range(count):
            loss = step()
        return loss, (time.perf_counter() - began) / count

    return steps


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
        return float(value)  # waits for the whole program, as `item` does in PyTorch

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


@contextlib.contextmanager
def apart(name: str, size: int, form: str) -> Iterator[tuple[Timed, dict[str, Timed]]]:
    """Return the timed steps of `both`, each side in a process of its own, which measures its seconds itself and ends with the block."""
    code = f"from {__package__} import sides; sides.serve({name!r}, {size}, {form!r}, mine=%s)"

    def side(mine: bool) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", code % mine], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    with side(mine=True) as ours, side(mine=False) as theirs:  # each ends when its input does
        yield _steps(name, ours)[OURS], _steps(name, theirs)


def _steps(name: str, process: subprocess.Popen[str]) -> dict[str, Timed]:
    def answered(request: str = "") -> Any:
        if request:
            print(request, file=process.stdin, flush=True)
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise UserError(f"The process of {name} ended with {process.wait()}; its error is above.")
        return json.loads(line)

    return {key: lambda count, key=key: answered(f"{key} {count}") for key in answered()}  # type: ignore[misc]


def serve(name: str, size: int, form: str, mine: bool) -> None:
    """Print the names of one side's steps; for each name and count on the standard input, take these steps, print the loss and seconds."""
    if mine:
        memory.share_heap()
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # compilers print, too
        ours, candidates = both(imported_torch(), name, size, form)
        steps = {key: timed(step) for key, step in ({OURS: ours} if mine else candidates).items()}
        print(json.dumps(list(steps)), file=answers, flush=True)
        for number, line in enumerate(sys.stdin):
            key, count = line.split()
            print(json.dumps(steps[key](int(count))), file=answers, flush=True)
            if mine and number == 0:
                memory.keep_freed()


def peak_of(name: str, size: int, form: str, side: str) -> float:
    """Return the largest resident memory, in GB, of a process that takes steps of one side: ours (""), or a form of PyTorch."""
    code = f"from {__package__} import sides; sides.stepped({name!r}, {size}, {form!r}, {side!r})"
    finished = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return round(float(finished.stdout.splitlines()[-1]), 3)


def stepped(name: str, size: int, form: str, side: str) -> None:
    """Take steps of one side, and print the largest resident memory of this process in GB."""
    ours, candidates = both(imported_torch(), name, size, form)
    step = candidates[side] if side else ours
    for _ in range(CHECKED):
        step()
    print(memory.peak() / 1e9)


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


def imported_torch() -> Any:
    """Return PyTorch, which only this command needs."""
    try:
        import torch
    except ImportError:
        raise UserError("The comparison needs PyTorch, which is not installed. Install it: pip install -e '.[bench]'.") from None
    if jax.default_backend() != "cpu":
        raise UserError(f"Expected JAX on the CPU, where both are compared; it runs on {jax.default_backend()}. Set JAX_PLATFORMS=cpu.")
    return torch
